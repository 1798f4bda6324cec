"""Audio files that nobody should have to read: sound ones of every container, broken in many ways, by seed."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile as sf

__all__ = ["KINDS", "ODD_NAMES", "hostile_file", "write_hostile_files"]

FORMATS = tuple(
    tuple(word.split(":"))
    for word in (
        "WAV:PCM_16 WAV:PCM_U8 WAV:PCM_24 WAV:PCM_32 WAV:FLOAT WAV:DOUBLE WAV:ULAW WAV:ALAW WAV:IMA_ADPCM"
        " WAV:MS_ADPCM WAV:GSM610 WAVEX:PCM_16 RF64:PCM_16 W64:PCM_16 FLAC:PCM_16 FLAC:PCM_24 OGG:VORBIS OGG:OPUS"
        " MP3:MPEG_LAYER_III AIFF:PCM_16 AIFF:FLOAT CAF:PCM_16 CAF:ALAC_16 AU:PCM_16 NIST:PCM_16 VOC:PCM_16"
        " SVX:PCM_16 PAF:PCM_16 IRCAM:PCM_16 MAT4:PCM_16 MAT5:PCM_16 PVF:PCM_16 HTK:PCM_16 AVR:PCM_16 MPC2K:PCM_16"
    ).split()
)
SUFFIXES = {"FLAC": ".flac", "OGG": ".ogg", "MP3": ".mp3", "AIFF": ".aiff"}
NUMBERS = (0, 1, 2, 7, 63, 64, 65, 255, 1024, 65_535, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 44_101, 767_999)
ODD_NAMES = (
    "<script>alert(1)<script>", "<img src=x onerror=alert(1)>", "a'b\"c&amp;", "{{7*7}}", "%n%s", "..%2f..%2f",
    "=HYPERLINK(1)", "+1+1", "@SUM(1)", "-2+3", "esc\x1b[31mred\x1b]0;t\x07", "line\nbreak", "tab\there", "cr\rback",
    "\u202egnp", "\u2028sep", "e\u0301", b"\xff\xfe".decode("utf-8", "surrogateescape"),
)  # fmt: skip
"""File names that mean something to a page, a spreadsheet, a terminal or a path; the last is no UTF-8."""

Maker = Callable[[np.random.Generator], tuple[bytes, str]]


def _sound(rng: np.random.Generator) -> tuple[bytearray, str]:
    container, subtype = FORMATS[rng.integers(len(FORMATS))]
    rate = int(rng.choice([8_000, 16_000, 24_000, 48_000]))
    samples = 0.2 * np.sin(np.arange(int(rate * rng.uniform(0.05, 0.6))) * rng.uniform(0.01, 0.5))
    samples += 0.01 * rng.standard_normal(len(samples))
    channels = 1 if subtype in ("GSM610",) or container in ("HTK", "AVR", "SVX") else int(rng.integers(1, 3))
    stream = io.BytesIO()
    sf.write(stream, np.repeat(samples[:, None], channels, 1), rate, format=container, subtype=subtype)
    return bytearray(stream.getvalue()), SUFFIXES.get(container, ".wav")


def _flipped(rng: np.random.Generator, *, head: bool) -> tuple[bytes, str]:
    data, suffix = _sound(rng)
    limit = min(len(data), 128) if head else len(data)
    for place in rng.integers(0, limit, int(rng.integers(1, 12))):
        data[place] ^= 1 << int(rng.integers(8))
    return bytes(data), suffix


def _numbers_in_header(rng: np.random.Generator) -> tuple[bytes, str]:
    data, suffix = _sound(rng)
    for _ in range(int(rng.integers(1, 4))):
        form = ("<I", ">I", "<H", ">H")[rng.integers(4)]
        place = int(rng.integers(0, max(1, min(len(data), 96) - 4)))
        value = NUMBERS[rng.integers(len(NUMBERS))] & (0xFFFFFFFF if form[1] == "I" else 0xFFFF)
        struct.pack_into(form, data, place, value)
    return bytes(data), suffix


def _cut(rng: np.random.Generator) -> tuple[bytes, str]:
    data, suffix = _sound(rng)
    return bytes(data[: int(rng.integers(0, len(data)))]), suffix


def _zeroed(rng: np.random.Generator) -> tuple[bytes, str]:
    data, suffix = _sound(rng)
    start = int(rng.integers(0, len(data)))
    end = min(len(data), start + int(rng.integers(1, 4_000)))
    data[start:end] = bytes(end - start)
    return bytes(data), suffix


def _surrounded(rng: np.random.Generator) -> tuple[bytes, str]:
    data, suffix = _sound(rng)
    junk = rng.bytes(int(rng.integers(1, 3_000)))
    return (junk + bytes(data) if rng.integers(2) else bytes(data) + junk), suffix


def _noise(rng: np.random.Generator) -> tuple[bytes, str]:
    starts = (
        b"", b"RIFF", b"RIFF\xff\xff\xff\xffWAVEfmt ", b"fLaC", b"OggS\0", b"ID3\x04\0\0", b"\xff\xfb\x90\0", b"FORM",
        b"caff\0\1\0\0", b".snd", b"NIST_1A\n   1024\n", b"RF64", b"riff", b"PK\3\4", b"<html>", b"#!AMR\n", bytes(64),
    )  # fmt: skip
    start = starts[rng.integers(len(starts))]
    suffix = (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".opus")[rng.integers(6)]
    return start + rng.bytes(int(rng.integers(0, 4_000))), suffix


def _tiny(rng: np.random.Generator) -> tuple[bytes, str]:
    data, suffix = _sound(rng)
    return bytes(data[: int(rng.integers(0, 48))]), suffix


def _wav(tag: int, channels: int, rate: int, bits: int, body: bytes, declared: int | None = None) -> bytes:
    align = (channels * bits // 8) & 0xFFFF
    head = struct.pack("<HHIIHH", tag, channels & 0xFFFF, rate, rate * align & 0xFFFFFFFF, align, bits & 0xFFFF)
    size = len(body) if declared is None else declared
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", size) + body
    return b"RIFF" + struct.pack("<I", (4 + len(chunks)) & 0xFFFFFFFF) + b"WAVE" + chunks


def _absurd_wav(rng: np.random.Generator) -> tuple[bytes, str]:
    rate = int(rng.choice([0, 1, 999, 1_000, 44_101, 191_999, 767_999, 768_001, 2**31 - 1, 2**32 - 1]))
    channels = int(rng.choice([0, 1, 2, 63, 64, 65, 1_024, 65_535]))
    tag = int(rng.choice([1, 3, 6, 7, 0x11, 0x31, 0x55, 0xF1AC, 0xFFFE, 0]))
    bits = int(rng.choice([0, 1, 7, 8, 16, 24, 32, 64, 65_535]))
    declared = None if rng.integers(2) else int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 2**31]))
    return _wav(tag, channels, rate, bits, rng.bytes(int(rng.integers(0, 20_000))), declared), ".wav"


def _odd_floats(rng: np.random.Generator) -> tuple[bytes, str]:
    samples = (0.1 * rng.standard_normal(8_000)).astype(np.float32)
    odd = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, 1e10], np.float32)
    places = rng.integers(0, len(samples), int(rng.integers(1, 2_000)))
    samples[places] = odd[rng.integers(len(odd))]
    return _wav(3, 1 + int(rng.integers(2)), 16_000, 32, samples.tobytes()), ".wav"


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    value, top, mask = 0, 1 << (bits - 1), (1 << bits) - 1
    for byte in data:
        value ^= byte << (bits - 8)
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
    return value


def _flac_bomb(rng: np.random.Generator) -> tuple[bytes, str]:
    """Frames of 65,535 equal samples each in some 20 bytes, of eight channels; the length declared lies or not."""
    channels, frames, block = 8, int(rng.integers(100, 1_000)), 65_535
    declared = int(rng.choice([frames * block, 2**36 - 1, 0, 1, 16_000]))
    rate = 16_000
    info = struct.pack(">HH", block, block) + bytes(6)
    info += ((rate << 44) | ((channels - 1) << 41) | (15 << 36) | declared).to_bytes(8, "big") + bytes(16)
    out = [b"fLaC\x80\0\0\x22" + info]
    for number in range(frames):
        coded = bytes([number]) if number < 128 else bytes([0xC0 | number >> 6, 0x80 | number & 63])
        if number > 2_047:
            break
        head = b"\xff\xf8" + bytes([0x70, (channels - 1) << 4 | 8]) + coded + struct.pack(">H", block - 1)
        head += bytes([_crc(head, 8, 0x07)])
        frame = head + (b"\0" + struct.pack(">h", 1_000)) * channels
        out.append(frame + struct.pack(">H", _crc(frame, 16, 0x8005)))
    return b"".join(out), ".flac"


def _flac_lie(rng: np.random.Generator) -> tuple[bytes, str]:
    stream = io.BytesIO()
    sf.write(stream, 0.1 * rng.standard_normal(4_000), 16_000, format="FLAC", subtype="PCM_16")
    data = bytearray(stream.getvalue())
    field = int.from_bytes(data[18:26], "big")
    kept = field & ~((1 << 36) - 1)
    data[18:26] = (kept | int(rng.choice([0, 1, 2**31, 2**36 - 1, 10**9]))).to_bytes(8, "big")
    return bytes(data), ".flac"


def _ogg_lie(rng: np.random.Generator) -> tuple[bytes, str]:
    """The last page claims another position in time, with its checksum set right."""
    stream = io.BytesIO()
    subtype = ("VORBIS", "OPUS")[rng.integers(2)]
    sf.write(stream, 0.1 * rng.standard_normal(16_000), 16_000, format="OGG", subtype=subtype)
    data = bytearray(stream.getvalue())
    page = data.rfind(b"OggS")
    struct.pack_into("<q", data, page + 6, int(rng.choice([0, -1, 1, 2**40, 2**62, 2**63 - 1])))
    data[page + 22 : page + 26] = bytes(4)
    data[page + 22 : page + 26] = struct.pack("<I", _crc(bytes(data[page:]), 32, 0x04C11DB7))
    return bytes(data), ".ogg"


def _many_chunks(rng: np.random.Generator) -> tuple[bytes, str]:
    kind = (b"LIST", b"JUNK", b"bext", b"fmt ", b"cue ", b"smpl", b"ID3 ")[rng.integers(7)]
    one = kind + struct.pack("<I", int(rng.choice([0, 4, 8]))) + rng.bytes(8)
    inner = one * int(rng.integers(10, 3_000))
    whole = _wav(1, 1, 16_000, 16, rng.bytes(2_000))
    return whole[:12] + inner + whole[12:], ".wav"


def _nested(rng: np.random.Generator) -> tuple[bytes, str]:
    inner, suffix = _sound(rng)
    choice = int(rng.integers(5))
    if choice == 0:
        return _wav(int(rng.choice([0x55, 0xF1AC, 0x2000, 1])), 1, 16_000, 16, bytes(inner)), ".wav"
    if choice == 1:
        size = int(rng.choice([0, 10, 2**28 - 1]))
        packed = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
        return b"ID3\x04\0\0" + packed + bytes(10) + bytes(inner), ".mp3"
    if choice == 2:
        depth = bytes(inner)
        for _ in range(int(rng.integers(2, 30))):
            depth = _wav(1, 1, 16_000, 16, depth)
        return depth, ".wav"
    if choice == 3:
        return bytes(inner) + bytes(inner), suffix  # a chained stream
    other, _ = _sound(rng)
    return bytes(inner[: len(inner) // 2]) + bytes(other), suffix


def _sound_as_it_is(rng: np.random.Generator) -> tuple[bytes, str]:
    data, suffix = _sound(rng)
    wrong = (suffix, ".mp3", ".flac", ".wav")[rng.integers(4)]
    return bytes(data), wrong


KINDS: dict[str, Maker] = {
    "bits flipped in the header": lambda rng: _flipped(rng, head=True),
    "bits flipped anywhere": lambda rng: _flipped(rng, head=False),
    "absurd numbers in the header": _numbers_in_header,
    "cut off": _cut,
    "a stretch of zeros": _zeroed,
    "junk before or after": _surrounded,
    "noise behind a known start": _noise,
    "a few bytes": _tiny,
    "WAV of absurd rate, channels, width": _absurd_wav,
    "NaN, infinite and huge floats": _odd_floats,
    "FLAC decompression bomb": _flac_bomb,
    "FLAC with a wrong length": _flac_lie,
    "Ogg with a wrong length": _ogg_lie,
    "thousands of chunks": _many_chunks,
    "containers in containers": _nested,
    "sound, perhaps under a wrong name": _sound_as_it_is,
}


def hostile_file(seed: int, number: int) -> tuple[str, bytes, str]:
    """Kind, bytes and suffix of file ``number`` of a seed."""
    rng = np.random.default_rng([seed, number])
    kind = list(KINDS)[number % len(KINDS)]
    if kind == "FLAC decompression bomb" and number // len(KINDS) % 20:
        kind = "FLAC with a wrong length"  # bombs are slow to make: one in twenty
    return kind, *KINDS[kind](rng)


def write_hostile_files(folder: Path, seed: int, count: int) -> dict[str, str]:
    """Write ``count`` files; gives kind by file name. Some have hostile names, one is sparse with 3 GB declared."""
    kinds = {}
    for number in range(count):
        kind, data, suffix = hostile_file(seed, number)
        odd = ODD_NAMES[number // 37 % len(ODD_NAMES)] if number % 37 == 5 else ""
        name = f"{number:05d}{odd}{suffix}"
        (folder / name).write_bytes(data)
        kinds[name] = kind
        if number == 3:
            with (folder / name).open("wb") as stream:
                stream.write(_wav(1, 2, 48_000, 16, b"", 2**31 - 64))
                stream.truncate(3 << 30)
    return kinds
