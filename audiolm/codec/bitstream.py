"""``.sst``: codes of a codec in a file, packed to their bits, in blocks with a checksum each.

```
"SSTR", version, length of the header          magic, uint16, uint16; all numbers little-endian
sample rate, hop, levels, codebook size        uint32 each
frames per block, name length                  uint32 each
frames, samples                                uint64 each; samples: exact length of the recording
SHA-256 of the codec's weights                 32 bytes
codec name                                     UTF-8
CRC32 of all of the above                      uint32
block 0, block 1, ...                          codes, frame by frame, level by level, most significant bit
                                               first, filled up to a byte; then the CRC32 of number and bytes
```

At the paper's geometry the payload is 6000 bit/s; a block of one second adds its 4 bytes, 32 bit/s (0.53 %), and the
header about 100 bytes once. Nothing is read or written but whole blocks, so memory does not grow with the stream.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

__all__ = ["BitstreamError", "BitstreamHeader", "BitstreamWriter", "read_codes", "read_header"]

MAGIC, VERSION = b"SSTR", 1
START = struct.Struct("<4sHH")
FIELDS = struct.Struct("<6I2Q32s")
CRC = struct.Struct("<I")
MAX_NAME_BYTES, MAX_LEVELS, MAX_CODES, MAX_HOP = 200, 256, 1 << 24, 1 << 16
MAX_BLOCK_BYTES = 1 << 20
MAX_FRAMES = 1 << 40


class BitstreamError(ValueError):
    """A ``.sst`` file that cannot be used; the message names the file, the place and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BitstreamHeader:
    """``samples``: length of the recording; ``frames``: ceil(samples / hop); ``codec_digest``: SHA-256 in hex."""

    codec_name: str
    codec_digest: str
    sample_rate_hz: int
    hop: int
    n_levels: int
    codebook_size: int
    frames_per_block: int
    frames: int = 0
    samples: int = 0

    @property
    def bits_per_code(self) -> int:
        return (self.codebook_size - 1).bit_length()

    @property
    def duration_s(self) -> float:
        return self.samples / self.sample_rate_hz

    @property
    def payload_bps(self) -> float:
        """Bits per second of the codes alone."""
        return self.sample_rate_hz / self.hop * self.n_levels * self.bits_per_code

    @property
    def n_blocks(self) -> int:
        return -(-self.frames // self.frames_per_block)

    @property
    def file_bytes(self) -> int:
        """Size of the whole file."""
        full, rest = divmod(self.frames, self.frames_per_block)
        blocks = full * self._block_bytes(self.frames_per_block) + (self._block_bytes(rest) if rest else 0)
        return len(self.packed()) + blocks

    def frames_in(self, block: int) -> int:
        return min(self.frames_per_block, self.frames - block * self.frames_per_block)

    def seconds_of(self, block: int) -> str:
        """The stretch of the recording that a block holds, in words."""
        rate = self.sample_rate_hz / self.hop
        start = block * self.frames_per_block
        return f"{start / rate:.2f} to {(start + self.frames_in(block)) / rate:.2f} s"

    def packed(self) -> bytes:
        """The header as it stands in the file."""
        name = self.codec_name.encode()
        fields = FIELDS.pack(
            *(self.sample_rate_hz, self.hop, self.n_levels, self.codebook_size, self.frames_per_block, len(name)),
            *(self.frames, self.samples, bytes.fromhex(self.codec_digest)),
        )
        body = START.pack(MAGIC, VERSION, START.size + FIELDS.size + len(name) + CRC.size) + fields + name
        return body + CRC.pack(zlib.crc32(body))

    def check(self, where: str) -> None:
        """Refuse what no codec writes: numbers beyond the limits, or that do not fit each other."""
        limits = (
            ("sample rate", self.sample_rate_hz, 1_000, 768_000),
            ("hop", self.hop, 1, MAX_HOP),
            ("levels", self.n_levels, 1, MAX_LEVELS),
            ("codebook size", self.codebook_size, 2, MAX_CODES),
            ("frames per block", self.frames_per_block, 1, MAX_BLOCK_BYTES),
            ("frames", self.frames, 0, MAX_FRAMES),
        )
        for what, value, low, high in limits:
            if not low <= value <= high:
                raise BitstreamError(f"{where}: {what} is {value}, outside {low} to {high}; the file is not sound")
        if self._block_bytes(self.frames_per_block) > MAX_BLOCK_BYTES:
            size = self._block_bytes(self.frames_per_block)
            raise BitstreamError(f"{where}: a block has {size} bytes, at most {MAX_BLOCK_BYTES} are read")
        if self.frames != -(-self.samples // self.hop):
            raise BitstreamError(
                f"{where}: {self.frames} frames of {self.hop} do not hold {self.samples} samples; the file is not sound"
            )

    def _block_bytes(self, frames: int) -> int:
        return -(-frames * self.n_levels * self.bits_per_code // 8) + CRC.size


class BitstreamWriter:
    """Writes codes as they come; the file appears under its name when complete (``finish``), or not at all.

    Use it as a context: leaving it without ``finish`` removes what was written.
    """

    def __init__(self, path: str | Path, header: BitstreamHeader) -> None:
        """``header``: geometry and codec; its counts are ignored and found while writing."""
        if len(header.codec_name.encode()) > MAX_NAME_BYTES or not header.codec_name.isprintable():
            raise BitstreamError(
                f"codec name {header.codec_name[:40]!r} must be printable, {MAX_NAME_BYTES} bytes at most"
            )
        self.path = Path(path)
        self.header = replace(header, frames=0, samples=0)
        self.header.check(str(path))
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        self._stream: IO[bytes] = self._temporary.open("wb")
        self._stream.write(self.header.packed())
        self._waiting = np.zeros((0, header.n_levels), dtype=np.int64)
        self._frames = self._block = 0

    def __enter__(self) -> BitstreamWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._temporary.unlink(missing_ok=True)

    def push(self, codes: np.ndarray) -> None:
        """Add codes ``[level, frame]``, any number of frames.

        Raises:
            BitstreamError: another number of levels, or a code outside the codebook.
        """
        size = self.header.codebook_size
        if codes.ndim != 2 or codes.shape[0] != self.header.n_levels or codes.dtype.kind not in "iu":
            raise BitstreamError(
                f"codes are {codes.dtype} of shape {codes.shape}; give whole numbers as [level, frame]"
                f" with {self.header.n_levels} levels"
            )
        if codes.size and (int(codes.min()) < 0 or int(codes.max()) >= size):
            raise BitstreamError(f"codes must lie in [0, {size}); found {int(codes.min())} to {int(codes.max())}")
        self._waiting = np.concatenate([self._waiting, codes.T.astype(np.int64)])
        self._frames += codes.shape[1]
        step = self.header.frames_per_block
        while len(self._waiting) >= step:
            self._write_block(self._waiting[:step])
            self._waiting = self._waiting[step:].copy()

    def finish(self, samples: int) -> BitstreamHeader:
        """Write the rest and give the file its name; ``samples``: exact length of the recording at the codec's rate."""
        header = replace(self.header, frames=self._frames, samples=samples)
        header.check(str(self.path))
        if len(self._waiting):
            self._write_block(self._waiting)
        self._stream.seek(0)
        self._stream.write(header.packed())
        self._stream.close()
        os.replace(self._temporary, self.path)
        return header

    def _write_block(self, frames: np.ndarray) -> None:
        payload = _pack(frames, self.header.bits_per_code)
        self._stream.write(payload + CRC.pack(_block_crc(self._block, payload)))
        self._block += 1


def read_header(path: str | Path) -> BitstreamHeader:
    """The header of a file, and nothing behind it.

    Raises:
        BitstreamError: missing, not ours, of another version, damaged, or beyond what is read.
    """
    with _opened(path) as stream:
        return _read_header(stream, str(path))


def read_codes(path: str | Path) -> Iterator[np.ndarray]:
    """Codes ``[level, frame]`` int64, block by block, each checked before it is given.

    Raises:
        BitstreamError: as :func:`read_header`; or a block that is damaged or missing, named with its seconds.
    """
    with _opened(path) as stream:
        header = _read_header(stream, str(path))
        for block in range(header.n_blocks):
            place = f"{path}: block {block} of {header.n_blocks} ({header.seconds_of(block)})"
            count = header.frames_in(block)
            size = -(-count * header.n_levels * header.bits_per_code // 8)
            data = stream.read(size + CRC.size)
            if len(data) < size + CRC.size:
                raise BitstreamError(f"{place} is cut off; the file is truncated, copy it again")
            payload = data[:size]
            if CRC.unpack(data[size:])[0] != _block_crc(block, payload):
                raise BitstreamError(f"{place} is damaged, its checksum does not match; copy the file again")
            codes = _unpack(payload, count, header.n_levels, header.bits_per_code)
            if int(codes.max()) >= header.codebook_size:
                raise BitstreamError(f"{place} holds code {int(codes.max())}, the codebook {header.codebook_size}")
            yield codes
        if stream.read(1):
            raise BitstreamError(f"{path}: bytes follow the last block; two files may have been joined, copy it again")


def _opened(path: str | Path) -> IO[bytes]:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise BitstreamError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def _read_header(stream: IO[bytes], where: str) -> BitstreamHeader:
    start = stream.read(START.size)
    if len(start) < START.size or start[:4] != MAGIC:
        raise BitstreamError(f"{where}: is not a .sst file; give one that 'audiolm-audit codec encode' wrote")
    _, version, length = START.unpack(start)
    if version != VERSION:
        raise BitstreamError(
            f"{where}: has version {version}, this program reads {VERSION}; install the one that wrote it"
        )
    fixed = START.size + FIELDS.size + CRC.size
    if not fixed <= length <= fixed + MAX_NAME_BYTES:
        raise BitstreamError(f"{where}: the header declares {length} bytes; the file is damaged, copy it again")
    body = start + stream.read(length - START.size)
    if len(body) < length:
        raise BitstreamError(f"{where}: is cut off within its header; the file is truncated, copy it again")
    if CRC.unpack(body[-CRC.size :])[0] != zlib.crc32(body[: -CRC.size]):
        raise BitstreamError(f"{where}: the header is damaged, its checksum does not match; copy the file again")
    rate, hop, levels, codes, per_block, name_length, frames, samples, digest = FIELDS.unpack_from(body, START.size)
    name = body[START.size + FIELDS.size : -CRC.size].decode("utf-8", errors="replace")
    if name_length != length - fixed or not name.isprintable():
        raise BitstreamError(f"{where}: the codec's name is not sound; copy the file again")
    header = BitstreamHeader(
        codec_name=name,
        codec_digest=digest.hex(),
        sample_rate_hz=rate,
        hop=hop,
        n_levels=levels,
        codebook_size=codes,
        frames_per_block=per_block,
        frames=frames,
        samples=samples,
    )
    header.check(where)
    return header


def _block_crc(block: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<Q", block)))


def _pack(frames: np.ndarray, bits: int) -> bytes:
    """Codes ``[frame, level]`` to bytes, most significant bit first."""
    places = np.arange(bits - 1, -1, -1)
    return np.packbits((frames.reshape(-1, 1) >> places & 1).astype(np.uint8)).tobytes()


def _unpack(payload: bytes, frames: int, levels: int, bits: int) -> np.ndarray:
    """Bytes to codes ``[level, frame]``."""
    unpacked = np.unpackbits(np.frombuffer(payload, dtype=np.uint8), count=frames * levels * bits)
    codes = unpacked.reshape(frames, levels, bits) @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))
    return np.ascontiguousarray(codes.T)
