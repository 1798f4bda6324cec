"""The only audio input and output of the project: clips, files, resampling.

Files are read with soundfile (WAV, FLAC, OGG, MP3; any rate, any channel count) and resampled
once, with torchaudio's windowed-sinc kernel. Everything behind :class:`AudioClip` may rely on mono,
finite float32 samples.
"""

from __future__ import annotations

import errno
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf

from audiolm.audio_decoding import (
    CONTAINERS,
    MAX_SAMPLES,
    known_start,
    mono_pieces,
    name_of,
    resampled,
    unlikely_length,
)

__all__ = [
    "AUDIO_SUFFIXES",
    "AudioClip",
    "AudioError",
    "probe",
    "read_provenance",
    "stream_blocks",
    "wav_bytes",
    "write_audio",
    "write_audio_blocks",
]

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif")
MAX_CHANNELS = 64
MIN_RATE_HZ, MAX_RATE_HZ = 1_000, 768_000


class AudioError(ValueError):
    """Audio that cannot be used; the message names the file, what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a file's header declares: rate in Hz, channels, frames per channel, kind of container and of samples."""

    sample_rate_hz: int
    channels: int
    frames: int
    container: str
    subtype: str

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate_hz


@dataclass(frozen=True, slots=True)
class AudioClip:
    """Mono samples with their rate.

    ``samples``: float32 ``[time]``, finite, nominally within +-1; ``sample_rate_hz``: int;
    ``source``: the file it came from, or None. Build it with :meth:`from_file` or
    :meth:`from_array`: they check, nothing behind them does again.
    """

    samples: np.ndarray
    sample_rate_hz: int
    source: Path | None = None

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate_hz

    @classmethod
    def from_array(cls, samples: np.ndarray, sample_rate_hz: int, source: Path | None = None) -> AudioClip:
        """Check ``samples`` (``[time]`` or ``[time, channel]``, any real dtype) and take the channel mean.

        Raises:
            AudioError: wrong dimension or dtype, no samples, NaN or infinite samples, absurd rate.
        """
        where = f"{source}: " if source else ""
        if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
            raise AudioError(
                f"{where}sample rate is {sample_rate_hz} Hz; use audio between {MIN_RATE_HZ} and {MAX_RATE_HZ} Hz"
            )
        array = np.asarray(samples)
        if array.ndim not in (1, 2) or not (np.issubdtype(array.dtype, np.floating) or array.dtype.kind in "iu"):
            raise AudioError(
                f"{where}samples are {array.dtype} of shape {array.shape}; give numbers as [time] or [time, channel]"
            )
        if array.dtype.kind in "iu":
            array = array.astype(np.float64) / float(np.iinfo(array.dtype).max)
        if array.shape[0] == 0:
            raise AudioError(f"{where}holds 0 samples; give a recording with sound in it")
        if array.ndim == 2:
            array = array.mean(axis=1)
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            raise AudioError(f"{where}{bad} of {array.size} samples are NaN or infinite; export the recording again")
        return cls(np.ascontiguousarray(array, dtype=np.float32), int(sample_rate_hz), source)

    @classmethod
    def from_file(cls, path: str | Path, *, start_s: float = 0.0, duration_s: float | None = None) -> AudioClip:
        """Read a file, or ``duration_s`` seconds of it from ``start_s``, as a mono clip at its own rate.

        Raises:
            AudioError: missing, directory, empty, not audio, truncated, 0 samples, NaN or infinite samples.
        """
        path = Path(path)
        info = probe(path)
        start = int(round(start_s * info.sample_rate_hz))
        wanted = info.frames - start
        if duration_s is not None:
            wanted = min(wanted, int(round(duration_s * info.sample_rate_hz)))
        if wanted <= 0:
            raise AudioError(f"{path}: holds no sample after {start_s:g} s (it lasts {info.duration_s:.3f} s)")
        if wanted > MAX_SAMPLES:
            raise AudioError(
                f"{path}: {wanted / info.sample_rate_hz:.0f} s are to be read at once and at most"
                f" {MAX_SAMPLES / info.sample_rate_hz:.0f} s are; cut the recording"
            )
        pieces = list(_decoded(path, info, start, wanted))
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
        return cls.from_array(samples, info.sample_rate_hz, path)

    def at_rate(self, sample_rate_hz: int) -> AudioClip:
        """The clip at another rate (torchaudio windowed-sinc); itself where the rate is already right.

        Rates without a common measure (8,287 Hz) would need a kernel of gigabytes there: scipy's polyphase filter
        does them.
        """
        if sample_rate_hz == self.sample_rate_hz:
            return self
        if len(self.samples) * sample_rate_hz > MAX_SAMPLES * self.sample_rate_hz:
            raise AudioError(
                f"{self.source or 'clip'}: lasts {self.duration_s:.0f} s, too much to be held at {sample_rate_hz} Hz;"
                f" cut it to {MAX_SAMPLES / sample_rate_hz:.0f} s"
            )
        samples = resampled(self.samples, self.sample_rate_hz, int(sample_rate_hz))
        return AudioClip(np.ascontiguousarray(samples, dtype=np.float32), int(sample_rate_hz), self.source)

    def cut(self, start_s: float, end_s: float | None = None) -> AudioClip:
        """The part between two times in seconds; an empty part is an AudioError."""
        start = int(round(start_s * self.sample_rate_hz))
        end = len(self.samples) if end_s is None else int(round(end_s * self.sample_rate_hz))
        samples = self.samples[max(start, 0) : end]
        if len(samples) == 0:
            raise AudioError(f"{self.source or 'clip'}: holds no sample between {start_s:g} s and {end_s} s")
        return AudioClip(samples, self.sample_rate_hz, self.source)


def probe(path: str | Path) -> AudioInfo:
    """Read a file's header only.

    Raises:
        AudioError: missing, a directory, empty, not audio, 0 samples, absurd rate or channel count.
    """
    path = Path(path)
    if not path.exists():
        raise AudioError(f"{path}: no such file; check the path")
    if path.is_dir():
        raise AudioError(f"{path}: is a folder, not an audio file; name a file in it")
    if not path.is_file():
        raise AudioError(f"{path}: is not a regular file; copy the audio into one")
    if path.stat().st_size == 0:
        raise AudioError(f"{path}: the file is empty (0 bytes); copy or export it again")
    try:
        if not known_start(path):
            raise AudioError(f"{path}: is not audio that can be read (unknown first bytes); use WAV, FLAC, OGG or MP3")
        info = sf.info(name_of(path))
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened ({error.strerror}); check the path and its rights") from error
    except (sf.LibsndfileError, RuntimeError) as error:
        raise AudioError(f"{path}: is not audio that can be read ({error}); use WAV, FLAC, OGG or MP3") from error
    if info.format not in CONTAINERS:
        raise AudioError(f"{path}: is a {info.format} file, which is not read; use WAV, FLAC, OGG or MP3")
    if info.frames <= 0:
        raise AudioError(f"{path}: holds 0 samples; give a recording with sound in it")
    if info.channels > MAX_CHANNELS:
        raise AudioError(f"{path}: has {info.channels} channels; at most {MAX_CHANNELS} are read")
    if not MIN_RATE_HZ <= info.samplerate <= MAX_RATE_HZ:
        raise AudioError(
            f"{path}: sample rate is {info.samplerate} Hz; use audio between {MIN_RATE_HZ} and {MAX_RATE_HZ} Hz"
        )
    if unlikely_length(info.frames, info.channels, path.stat().st_size):
        raise AudioError(
            f"{path}: declares {info.frames} samples of {info.channels} channels in {path.stat().st_size} bytes, which"
            " no recording fits into; its header is damaged, or it was made to fill memory; export it again"
        )
    return AudioInfo(info.samplerate, info.channels, info.frames, info.format, info.subtype)


def stream_blocks(path: str | Path, *, block_s: float) -> Iterator[AudioClip]:
    """Consecutive mono blocks of a file, so that a recording of any length is read in bounded memory.

    Raises:
        AudioError: as :func:`probe`; or, at that place, damage or an end before the declared one.
    """
    path = Path(path)
    info = probe(path)
    size = max(1, int(round(block_s * info.sample_rate_hz)))
    held: list[np.ndarray] = []
    count = 0
    for piece in _decoded(path, info, 0, info.frames):
        while count + len(piece) >= size:
            held.append(piece[: size - count])
            piece = piece[size - count :]
            yield AudioClip.from_array(np.concatenate(held), info.sample_rate_hz, path)
            held, count = [], 0
        if len(piece):
            held.append(piece)
            count += len(piece)
    if held:
        yield AudioClip.from_array(np.concatenate(held), info.sample_rate_hz, path)


def _decoded(path: Path, info: AudioInfo, start: int, frames: int) -> Iterator[np.ndarray]:
    """Mono pieces of ``frames`` frames from ``start``; an AudioError where they cannot be had."""
    left = frames
    try:
        for piece in mono_pieces(path, start, frames):
            left -= len(piece)
            yield piece
    except (sf.LibsndfileError, RuntimeError, OSError) as error:
        raise AudioError(f"{path}: cannot be decoded ({error}); the file is damaged, export it again") from error
    if left and info.container != "MP3":
        raise AudioError(
            f"{path}: truncated, its header declares {info.frames} samples and {start + frames - left} could be"
            " read; copy or export the file again"
        )


def write_audio(path: str | Path, clip: AudioClip, provenance: Mapping[str, object] | None = None) -> None:
    """Write 16-bit PCM (WAV or FLAC by suffix), atomically; ``provenance`` goes into the comment tag as JSON.

    The same clip and provenance give the same bytes.
    """
    write_audio_blocks(path, [clip.samples], clip.sample_rate_hz, provenance)


def write_audio_blocks(
    path: str | Path,
    blocks: Iterable[np.ndarray],
    sample_rate_hz: int,
    provenance: Mapping[str, object] | None = None,
) -> None:
    """As :func:`write_audio`, from consecutive blocks of samples ``[time]``: memory is that of one block.

    Where taking a block fails, nothing is left behind.
    """
    path = Path(path)
    kind = path.suffix.lower().lstrip(".")
    if kind not in ("wav", "flac"):
        raise AudioError(f"{path}: can write .wav or .flac, not {path.suffix!r}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with sf.SoundFile(name_of(temporary), "w", sample_rate_hz, 1, subtype="PCM_16", format=kind.upper()) as stream:
            if provenance:
                stream.comment = _comment(provenance)
            for samples in blocks:
                stream.write(_pcm(samples))
        os.replace(temporary, path)
    except sf.LibsndfileError as error:
        raise _write_error(temporary, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def wav_bytes(clip: AudioClip, provenance: Mapping[str, object] | None = None) -> tuple[bytes, AudioClip]:
    """The WAV file that :func:`write_audio` would write, and the clip that it would be read as; nothing is written."""
    pcm, stream = _pcm(clip.samples), io.BytesIO()
    with sf.SoundFile(stream, "w", clip.sample_rate_hz, 1, subtype="PCM_16", format="WAV") as writer:
        if provenance:
            writer.comment = _comment(provenance)
        writer.write(pcm)
    return stream.getvalue(), AudioClip(pcm.astype(np.float32) / np.float32(32768.0), clip.sample_rate_hz, clip.source)


def _pcm(samples: np.ndarray) -> np.ndarray:
    return np.clip(np.round(samples.astype(np.float64) * 32767.0), -32768, 32767).astype(np.int16)


def _comment(provenance: Mapping[str, object]) -> str:
    return json.dumps(dict(provenance), sort_keys=True, ensure_ascii=True)


def _write_error(temporary: Path, path: Path) -> OSError:
    """What the system has against writing there; libsndfile only says that something has failed."""
    try:
        with temporary.open("ab") as stream:
            stream.write(bytes(1 << 20))
            os.fsync(stream.fileno())
    except OSError as error:
        return OSError(error.errno, error.strerror, str(path))
    return OSError(errno.EIO, os.strerror(errno.EIO), str(path))


def read_provenance(path: str | Path) -> dict[str, object]:
    """The JSON object that :func:`write_audio` left in a file's comment tag; empty where there is none."""
    try:
        if not known_start(Path(path)):
            return {}
        with sf.SoundFile(name_of(path)) as stream:
            comment = stream.comment
    except (sf.LibsndfileError, RuntimeError, OSError):
        return {}
    try:
        value = json.loads(comment)
    except (ValueError, RecursionError):  # a number of 5,000 digits is no JSONDecodeError, brackets without end neither
        return {}
    return value if isinstance(value, dict) else {}
