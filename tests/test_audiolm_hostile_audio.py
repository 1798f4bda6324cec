"""The door of all audio under files made to break it: refused in a sentence or finite sound, in bounded memory."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
from faults.hostile_files import KINDS, hostile_file

from audiolm.audio import AudioClip, AudioError, probe, read_provenance, stream_blocks
from audiolm.audio_decoding import KERNEL_VALUES, kernel_values, resampled

SHORT_FORM = 240
MOST_MIB = 300.0


def _status_mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux")
def test_hundreds_of_hostile_files_are_answers(tmp_path: Path) -> None:
    """The short form of ``tests/faults/hostile_audio.py --count 10000``."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak of earlier tests in this process is none of this one's
    before, taken, reasons = _status_mib("VmHWM"), 0, []
    for number in range(SHORT_FORM):
        _, data, suffix = hostile_file(5, number)
        path = tmp_path / f"clip{suffix}"
        path.write_bytes(data)
        try:
            clip = AudioClip.from_file(path, duration_s=12.0).at_rate(16_000)
            assert np.isfinite(clip.samples).all() and len(clip.samples)
            taken += 1
        except AudioError as error:
            assert str(error).startswith(str(path)) and len(str(error)) < 1_000
            reasons.append(str(error))
    assert taken > SHORT_FORM // 10 and len(reasons) > SHORT_FORM // 3
    assert len({reason.split(": ", 1)[1][:20] for reason in reasons}) >= 5  # refused for what is wrong with each
    assert _status_mib("VmHWM") - before < MOST_MIB


def _flac(tmp_path: Path, declared: int) -> Path:
    stream = io.BytesIO()
    sf.write(stream, 0.1 * np.sin(np.arange(4_000)), 16_000, format="FLAC")
    data = bytearray(stream.getvalue())
    kept = int.from_bytes(data[18:26], "big") & ~((1 << 36) - 1)
    data[18:26] = (kept | declared).to_bytes(8, "big")
    path = tmp_path / "x.flac"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("read", [AudioClip.from_file, lambda path: list(stream_blocks(path, block_s=1.0))])
def test_a_length_that_no_such_file_has_is_refused(tmp_path: Path, read) -> None:
    with pytest.raises(AudioError, match="declares 68719476735 samples of 1 channels in"):
        read(_flac(tmp_path, 2**36 - 1))
    with pytest.raises(AudioError, match="truncated, its header declares 9000000|cannot be decoded"):
        read(_flac(tmp_path, 9_000_000))


@pytest.mark.parametrize("comment", ["[" * 5_000, '{"role": ' + "9" * 5_000 + "}", '{"a":' * 2_000, "[]", "3", "{"])
def test_a_tag_of_any_shape_is_read_as_no_provenance(tmp_path: Path, comment: str) -> None:
    path = tmp_path / "clip.flac"
    with sf.SoundFile(path, "w", 16_000, 1, subtype="PCM_16") as stream:
        stream.comment = comment
        stream.write(np.full(1_600, 0.1))
    assert read_provenance(path) == {}
    assert AudioClip.from_file(path).duration_s == 0.1


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    _, data, _ = "", *KINDS["FLAC decompression bomb"](np.random.default_rng(1))
    path = tmp_path / "bomb.flac"
    path.write_bytes(data)
    if int.from_bytes(data[18:26], "big") & ((1 << 36) - 1) > 10**6:
        with pytest.raises(AudioError, match="no recording fits into"):
            AudioClip.from_file(path)
    assert _status_mib("VmRSS") < 4_000


def test_only_known_containers_reach_the_decoder(tmp_path: Path) -> None:
    for container in ("VOC", "MAT5", "PAF", "SVX", "IRCAM"):
        path = tmp_path / "x.wav"
        sf.write(path, np.zeros(400), 16_000, format=container, subtype="PCM_16")
        with pytest.raises(AudioError, match="use WAV, FLAC, OGG or MP3"):
            probe(path)
    for container in ("WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "AU", "NIST", "W64", "RF64"):
        sf.write(path, np.zeros(400), 16_000, format=container)
        assert probe(path).sample_rate_hz == 16_000


def test_what_follows_an_id3_tag_must_be_a_container_that_is_decoded(tmp_path: Path) -> None:
    """The decoder looks for a container behind the tag; behind it, IFF sound (8SVX, 16SV) held it for ever."""
    tag, path = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10), tmp_path / "x.mp3"
    for container, taken in (("MP3", True), ("SVX", False), ("VOC", False)):
        stream = io.BytesIO()
        sf.write(stream, 0.1 * np.sin(np.arange(4_000)), 16_000, format=container)
        path.write_bytes(tag + stream.getvalue())
        if taken:
            assert probe(path).container == "MP3"
        else:
            with pytest.raises(AudioError, match="unknown first bytes"):
                probe(path)
            assert read_provenance(path) == {}


def test_blocks_of_many_channels_at_a_high_rate_stay_small(tmp_path: Path) -> None:
    path = tmp_path / "wide.wav"
    with path.open("wb") as stream:
        stream.write(_wide_header(channels=64, rate=768_000, frames=768_000 * 2))
        stream.truncate(44 + 768_000 * 2 * 64 * 2)
    before = _status_mib("VmHWM")
    assert sum(len(block.samples) for block in stream_blocks(path, block_s=1.0)) == 768_000 * 2
    assert _status_mib("VmHWM") - before < 100  # one second of all channels would be 196 MiB


def _wide_header(*, channels: int, rate: int, frames: int) -> bytes:
    size = frames * channels * 2
    head = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2, channels * 2, 16)
    body = b"fmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", size)
    return b"RIFF" + struct.pack("<I", 36 + size) + b"WAVE" + body


@pytest.mark.parametrize(
    ("source", "target"), [(44_101, 16_000), (1_013, 16_000), (191_999, 16_000), (767_999, 16_000)]
)
def test_rates_without_a_common_divisor_are_resampled_in_little_memory(source: int, target: int) -> None:
    from detectors.preparation import resample

    assert kernel_values(source, target) > KERNEL_VALUES
    time = np.arange(source) / source
    samples = (0.5 * np.sin(2 * np.pi * 300 * time)).astype(np.float32)
    tracemalloc.start()
    out = resampled(samples, source, target)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6 and len(resample(samples, source)) == target
    expected = 0.5 * np.sin(2 * np.pi * 300 * np.arange(target) / target)
    assert len(out) == target and np.abs(out - expected)[200:-200].max() < 5e-3


def test_clips_that_memory_is_not_made_for_are_refused() -> None:
    clip = AudioClip(np.zeros(7_000_000, np.float32), 1_000)
    with pytest.raises(AudioError, match="too much to be held at 16000 Hz; cut it to 6250 s"):
        clip.at_rate(16_000)


def test_a_name_that_is_no_text_is_read(tmp_path: Path) -> None:
    path = tmp_path / b"\xff\xfe.wav".decode("utf-8", "surrogateescape")
    with path.open("wb") as stream:
        sf.write(stream, np.full(800, 0.1), 16_000, format="WAV")
    assert len(AudioClip.from_file(path).samples) == 800
