"""Where recordings lie: a local file, a member of a tar, or an address that fsspec knows; fetched one at a time.

A fetched recording is a temporary file under a name of our own, so that no name in a tar or manifest reaches the disk.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

__all__ = ["Location", "fetched", "is_address", "list_addresses", "open_any"]

MOST_BYTES = 4 * 1024**3
"""Of one recording; what is larger is left where it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """``name``: what messages call it; ``address``: a path or an fsspec address; ``offset`` and ``size`` in bytes where
    it is a member of an uncompressed tar."""

    name: str
    address: str
    offset: int = 0
    size: int = -1

    @property
    def is_file(self) -> bool:
        """A whole local file, which is read where it lies."""
        return self.size < 0 and not is_address(self.address)


def is_address(text: str) -> bool:
    """Whether a text names something by protocol (``s3://bucket/key``)."""
    return "://" in text


def open_any(address: str) -> IO[bytes]:
    """A path or address opened for reading; it can seek.

    Raises:
        ValueError: the protocol is unknown, or needs a package that is not installed.
    """
    if not is_address(address):
        return Path(address).open("rb")
    return _opened(address)


def list_addresses(pattern: str) -> list[str]:
    """Addresses that a pattern such as ``s3://bucket/shards/*.tar`` finds, in order; the address itself without one."""
    if "*" not in pattern and "?" not in pattern:
        return [pattern]
    protocol = pattern.split("://", 1)[0]
    system = _filesystem(protocol, pattern)
    found = sorted(str(name) for name in system.glob(pattern))
    return [name if is_address(name) else f"{protocol}://{name.lstrip('/') if protocol != 'file' else name}"
            for name in found]  # fmt: skip


@contextlib.contextmanager
def fetched(location: Location) -> Iterator[Path]:
    """A local file with the recording, gone afterwards unless it was local before.

    Raises:
        ValueError: larger than is fetched, or its protocol is unknown.
        OSError: it cannot be read.
    """
    if location.is_file:
        yield Path(location.address)
        return
    suffix = PurePosixPath(location.name).suffix[:8]
    with tempfile.NamedTemporaryFile(prefix="audiolm-audit-", suffix=suffix) as copy:
        with contextlib.closing(open_any(location.address)) as stream:
            _copy(location, stream, copy)
        copy.flush()
        yield Path(copy.name)


def _copy(location: Location, stream: IO[bytes], copy: Any) -> None:
    if location.size > MOST_BYTES:
        raise ValueError(f"{location.name}: is {location.size} bytes; at most {MOST_BYTES} are fetched; cut it")
    if location.size >= 0:
        stream.seek(location.offset)
    left = location.size if location.size >= 0 else MOST_BYTES + 1
    while left:
        block = stream.read(min(left, 1 << 20))
        if not block:
            break
        copy.write(block)
        left -= len(block)
    if location.size >= 0 and left:
        raise ValueError(f"{location.name}: the tar ends {left} bytes before its member does; copy it again")
    if location.size < 0 and not left:
        raise ValueError(f"{location.name}: is larger than the {MOST_BYTES} bytes that are fetched; cut it")


def _opened(address: str) -> IO[bytes]:
    import fsspec

    try:
        return fsspec.open(address, "rb").open()  # type: ignore[return-value]
    except (ImportError, ValueError) as error:
        raise ValueError(f"{address}: {error}") from error


def _filesystem(protocol: str, address: str) -> Any:
    import fsspec

    try:
        return fsspec.filesystem(protocol)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{address}: {error}") from error
