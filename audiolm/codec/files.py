"""Recordings to ``.sst`` files and back, block by block: memory does not grow with the recording."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from audiolm import checkpoint
from audiolm.audio import AudioClip, AudioError, stream_blocks, write_audio_blocks
from audiolm.codec.bitstream import BitstreamError, BitstreamHeader, BitstreamWriter, read_codes, read_header
from audiolm.codec.protocol import AcousticTokenizer, load_acoustic
from audiolm.codec.soundstream import SoundStream
from audiolm.codec.streaming import StreamingDecoder, StreamingEncoder

__all__ = ["NamedCodec", "codes_of_file", "decode_file", "encode_file", "open_codec"]

BLOCK_S = 1.0
"""Seconds per block of a file: what one damaged byte costs."""
CHUNK_S = 4.0
"""Seconds that are read and encoded at a time."""


@dataclass(frozen=True, slots=True)
class NamedCodec:
    """A loaded codec with the name and the SHA-256 of the weights that its files carry."""

    codec: AcousticTokenizer
    name: str
    digest: str


def open_codec(source: str | Path) -> NamedCodec:
    """The codec of a shipped preset (``nano``), of a model's folder, or in a part's own folder.

    Raises:
        CheckpointError: there is none, or it cannot be used.
    """
    from audiolm.interchange import find_folder

    folder, name = find_folder(source)
    part = folder if (folder / checkpoint.CONFIG_NAME).is_file() else folder / "codec"
    return NamedCodec(load_acoustic(part), name, checkpoint.weights_digest(part))


def encode_file(
    named: NamedCodec, source: str | Path, target: str | Path, n_levels: int | None = None
) -> BitstreamHeader:
    """Encode a recording (any format and rate that can be read) into ``target``; gives the finished header.

    ``n_levels``: of the first levels, all by default; fewer levels, fewer bits.

    Raises:
        AudioError: the recording cannot be used.
        ValueError: a number of levels that the codec does not have.
    """
    codec = named.codec
    if Path(target).suffix.lower() != ".sst":
        raise BitstreamError(f"{target}: is not a name for a codec file; give one that ends in .sst")
    levels = codec.n_levels if n_levels is None else n_levels
    if not 1 <= levels <= codec.n_levels:
        raise ValueError(f"levels is {n_levels}; codec {named.name!r} has 1 to {codec.n_levels}")
    header = BitstreamHeader(
        codec_name=named.name,
        codec_digest=named.digest,
        sample_rate_hz=codec.sample_rate_hz,
        hop=codec.hop,
        n_levels=levels,
        codebook_size=codec.codebook_size,
        frames_per_block=max(1, round(BLOCK_S * codec.frame_rate_hz)),
    )
    total = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal total
        for samples in _at_rate(stream_blocks(source, block_s=CHUNK_S), codec.sample_rate_hz):
            total += len(samples)
            yield samples

    with BitstreamWriter(target, header) as writer:
        for codes in _encoded(codec, counted(), levels):
            writer.push(codes)
        return writer.finish(total)


def decode_file(
    named: NamedCodec, source: str | Path, target: str | Path, n_levels: int | None = None
) -> BitstreamHeader:
    """Decode a ``.sst`` file into a 16-bit WAV or FLAC file that says where it comes from; gives the file's header.

    ``n_levels``: only the first levels.

    Raises:
        BitstreamError: the file cannot be used, is damaged (with the place), or was made by another codec.
    """
    header = read_header(source)
    _check_codec(named, header, source)
    levels = header.n_levels if n_levels is None else n_levels
    if not 1 <= levels <= header.n_levels:
        raise ValueError(f"levels is {n_levels}; {source} has 1 to {header.n_levels}")
    if not header.samples:
        raise BitstreamError(f"{source}: holds 0 samples; encode a recording with sound in it")
    provenance = {
        "tool": "audiolm-audit",
        "role": "codec",
        "codec": header.codec_name,
        "codec_sha256": header.codec_digest,
        "levels": levels,
        "bits_per_second": round(header.payload_bps * levels / header.n_levels),
    }
    decoded = _decoded(named.codec, (codes[:levels] for codes in read_codes(source)))
    write_audio_blocks(target, _first(decoded, header.samples), header.sample_rate_hz, provenance)
    return header


def codes_of_file(named: NamedCodec, path: str | Path) -> Iterator[np.ndarray]:
    """Codes ``[level, frame]`` of a recording, or of a ``.sst`` file of the same codec, piece by piece."""
    if Path(path).suffix.lower() == ".sst":
        _check_codec(named, read_header(path), path)
        return read_codes(path)
    pieces = _at_rate(stream_blocks(path, block_s=CHUNK_S), named.codec.sample_rate_hz)
    return _encoded(named.codec, pieces, named.codec.n_levels)


def _check_codec(named: NamedCodec, header: BitstreamHeader, where: str | Path) -> None:
    """Refuse codes that another codec made: they would decode to noise."""
    if header.codec_digest != named.digest:
        raise BitstreamError(
            f"{where}: was encoded by codec {header.codec_name!r} (weights {header.codec_digest[:12]}),"
            f" not by {named.name!r} ({named.digest[:12]}); name that codec with --codec"
        )
    codec = named.codec
    ours = (codec.sample_rate_hz, codec.hop, codec.codebook_size)
    if ours != (header.sample_rate_hz, header.hop, header.codebook_size) or header.n_levels > codec.n_levels:
        raise BitstreamError(f"{where}: its geometry is not that of codec {named.name!r}; the file is not sound")


def _encoded(codec: AcousticTokenizer, pieces: Iterator[np.ndarray], levels: int) -> Iterator[np.ndarray]:
    """Codes ``[level, frame]`` of consecutive samples; a foreign codec cannot stream and takes them at once."""
    if not isinstance(codec, SoundStream):
        yield codec.encode(torch.from_numpy(np.concatenate(list(pieces)))[None], levels)[0].numpy()
        return
    encoder = StreamingEncoder(codec, levels)
    for samples in pieces:
        yield encoder.push(torch.from_numpy(samples)[None])[0].numpy()
    yield encoder.finish()[0].numpy()


def _decoded(codec: AcousticTokenizer, pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Samples ``[time]`` of consecutive codes."""
    if not isinstance(codec, SoundStream):
        yield codec.decode(torch.from_numpy(np.concatenate(list(pieces), axis=1))[None])[0].numpy()
        return
    decoder = StreamingDecoder(codec)
    for codes in pieces:
        yield decoder.push(torch.from_numpy(codes)[None])[0].numpy()
    yield decoder.finish()[0].numpy()


def _first(pieces: Iterator[np.ndarray], samples: int) -> Iterator[np.ndarray]:
    """The first ``samples`` samples: without the silence that fills up the last frame."""
    for piece in pieces:
        yield piece[:samples]
        samples -= min(samples, len(piece))


def _at_rate(blocks: Iterator[AudioClip], rate_hz: int) -> Iterator[np.ndarray]:
    """Consecutive blocks at another rate, as :meth:`AudioClip.at_rate` gives for the whole recording.

    Each stretch is resampled between a margin of what precedes and follows it, wider than the kernel's reach, and in
    whole periods of the two rates, so that no seam remains.
    """
    first = next(blocks, None)
    if first is None:
        raise AudioError("the recording ended before its first block; export it again")
    own = first.sample_rate_hz
    if own == rate_hz:
        yield first.samples
        yield from (clip.samples for clip in blocks)
        return
    period = own // math.gcd(own, rate_hz)
    margin = period * math.ceil(8 * max(1.0, own / rate_hz) / period)
    held = np.concatenate([np.zeros(margin, np.float32), first.samples])  # margin, then what is not yet resampled
    total = len(first.samples)
    made = 0
    for clip in blocks:
        held = np.concatenate([held, clip.samples])
        total += len(clip.samples)
        ready = (len(held) - 2 * margin) // period * period
        if ready > 0:
            yield _resampled(held[: ready + 2 * margin], own, rate_hz, margin, ready * rate_hz // own)
            made += ready * rate_hz // own
            held = held[ready:]
    rest = math.ceil(total * rate_hz / own) - made
    yield _resampled(np.concatenate([held, np.zeros(2 * margin, np.float32)]), own, rate_hz, margin, rest)


def _resampled(samples: np.ndarray, own: int, rate_hz: int, margin: int, count: int) -> np.ndarray:
    start = margin * rate_hz // own
    return AudioClip(samples, own).at_rate(rate_hz).samples[start : start + count]
