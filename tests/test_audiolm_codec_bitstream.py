"""The .sst container: round trip, size, and damage that is named with its place."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audiolm.codec.bitstream import BitstreamError, BitstreamHeader, BitstreamWriter, read_codes, read_header

PAPER = BitstreamHeader(
    codec_name="test",
    codec_digest="ab" * 32,
    sample_rate_hz=16_000,
    hop=320,
    n_levels=12,
    codebook_size=1024,
    frames_per_block=50,
)


def codes_for(header: BitstreamHeader, frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, header.codebook_size, (header.n_levels, frames))


def write(path: Path, header: BitstreamHeader, codes: np.ndarray, cuts: tuple[int, ...] = ()) -> BitstreamHeader:
    with BitstreamWriter(path, header) as writer:
        for piece in np.split(codes, cuts, axis=1):
            writer.push(piece)
        return writer.finish(codes.shape[1] * header.hop)


def read(path: Path) -> np.ndarray:
    return np.concatenate(list(read_codes(path)), axis=1)


@given(
    levels=st.integers(1, 20),
    size=st.sampled_from([2, 3, 255, 1000, 1024, 16_384]),
    frames=st.integers(1, 130),
    per_block=st.integers(1, 60),
    cut=st.integers(0, 130),
)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_geometry_comes_back(tmp_path, levels: int, size: int, frames: int, per_block: int, cut: int) -> None:
    header = replace(PAPER, n_levels=levels, codebook_size=size, frames_per_block=per_block)
    codes = codes_for(header, frames, seed=frames)
    path = tmp_path / "a.sst"
    written = write(path, header, codes, (min(cut, frames),))
    assert read_header(path) == written
    assert np.array_equal(read(path), codes)
    assert path.stat().st_size == written.file_bytes
    sizes = [piece.shape[1] for piece in read_codes(path)]
    assert max(sizes) <= per_block and len(sizes) == written.n_blocks


def test_ten_seconds_at_the_paper_preset_are_6_kilobits_and_half_a_percent(tmp_path) -> None:
    written = write(tmp_path / "a.sst", PAPER, codes_for(PAPER, 500))
    assert written.payload_bps == 6000.0
    assert written.file_bytes == len(written.packed()) + 10 * (6000 // 8 + 4)
    assert len(written.packed()) == 8 + 24 + 48 + 4 + 4
    assert 8 * written.file_bytes / 10 == pytest.approx(6000 + 32 + 70.4)


def test_bits_lie_as_the_format_says(tmp_path) -> None:
    header = replace(PAPER, n_levels=2, codebook_size=16, frames_per_block=3)
    path = tmp_path / "a.sst"
    written = write(path, header, np.array([[0xA, 0x1, 0xF], [0x5, 0x0, 0x8]]))
    block = path.read_bytes()[len(written.packed()) :]
    assert block[:3] == bytes([0xA5, 0x10, 0xF8])
    assert block[3:] == struct.pack("<I", zlib.crc32(struct.pack("<Q", 0) + block[:3]))


def test_truncation_and_damage_name_block_and_second(tmp_path) -> None:
    path = tmp_path / "a.sst"
    header = write(path, PAPER, codes_for(PAPER, 230))
    whole, start = path.read_bytes(), len(header.packed())
    path.write_bytes(whole[: start + 2 * 754 + 100])
    with pytest.raises(BitstreamError, match=r"block 2 of 5 \(2\.00 to 3\.00 s\) is cut off; .*truncated"):
        read(path)
    assert sum(1 for _ in _until_error(path)) == 2
    damaged = bytearray(whole)
    damaged[start + 4 * 754 + 7] ^= 16
    path.write_bytes(bytes(damaged))
    with pytest.raises(BitstreamError, match=r"block 4 of 5 \(4\.00 to 4\.60 s\) is damaged"):
        read(path)
    swapped = whole[:start] + whole[start + 754 : start + 1508] + whole[start : start + 754] + whole[start + 1508 :]
    path.write_bytes(swapped)
    with pytest.raises(BitstreamError, match="block 0 of 5"):
        read(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(BitstreamError, match="bytes follow the last block"):
        read(path)


def _until_error(path: Path):
    try:
        yield from read_codes(path)
    except BitstreamError:
        return


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7), keep=st.integers(0, 10_000))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_flipped_bit_and_every_cut_is_found(tmp_path, place: int, bit: int, keep: int) -> None:
    path = tmp_path / "a.sst"
    write(path, PAPER, codes_for(PAPER, 120))
    whole = bytearray(path.read_bytes())
    path.write_bytes(bytes(whole[: keep % len(whole)]))
    with pytest.raises(BitstreamError):
        read(path)
    whole[place % len(whole)] ^= 1 << bit
    path.write_bytes(bytes(whole))
    with pytest.raises(BitstreamError):
        read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate_hz": 5}, "sample rate is 5"),
        ({"hop": 0}, "hop is 0"),
        ({"n_levels": 60_000}, "levels is 60000"),
        ({"codebook_size": 2**31}, "codebook size is 2147483648"),
        ({"frames_per_block": 2**31}, "frames per block is 2147483648"),
        ({"frames_per_block": 600_000}, "at most 1048576 are read"),
        ({"frames": 2**63}, "frames is 9223372036854775808"),
        ({"samples": 2**40}, "do not hold 1099511627776 samples"),
    ],
)
def test_hostile_headers_with_a_right_checksum_are_refused(tmp_path, change: dict[str, int], message: str) -> None:
    path = tmp_path / "a.sst"
    path.write_bytes(replace(replace(PAPER, frames=1, samples=320), **change).packed())
    with pytest.raises(BitstreamError, match=message):
        read_header(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a .sst file"),
        (b"RIFF1234", "is not a .sst file"),
        (b"SSTR\x09\x00\x60\x00", "has version 9"),
        (b"SSTR\x01\x00\xff\xff", "declares 65535 bytes"),
        (PAPER.packed()[:40], "cut off within its header"),
    ],
)
def test_foreign_files_are_refused(tmp_path, data: bytes, message: str) -> None:
    path = tmp_path / "a.sst"
    path.write_bytes(data)
    with pytest.raises(BitstreamError, match=message):
        read_header(path)
    with pytest.raises(BitstreamError, match="cannot be read"):
        read_header(tmp_path / "none.sst")


def test_writer_refuses_wrong_codes_and_leaves_nothing_behind(tmp_path) -> None:
    path = tmp_path / "a.sst"
    with pytest.raises(BitstreamError, match="with 12 levels"), BitstreamWriter(path, PAPER) as writer:
        writer.push(np.zeros((3, 5), np.int64))
    with pytest.raises(BitstreamError, match=r"must lie in \[0, 1024\)"), BitstreamWriter(path, PAPER) as writer:
        writer.push(np.full((12, 1), 1024))
    with pytest.raises(BitstreamError, match="do not hold 700 samples"), BitstreamWriter(path, PAPER) as writer:
        writer.push(np.zeros((12, 2), np.int64))
        writer.finish(700)
    assert list(tmp_path.iterdir()) == []
