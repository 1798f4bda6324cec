"""Files that appear whole or not at all: what every table and document of a run folder is written with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["remove_leftovers", "whole_file", "write_whole"]


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside ``path`` to write to; it becomes ``path`` when the block ends, and goes when the block fails.

    Raises:
        OSError: it cannot be written; named after ``path``.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())  # some file systems report a full disk only here
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """Bytes, or text as UTF-8, into ``path``."""
    with whole_file(path) as temporary:
        temporary.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half-written in ``folder``. Only where its lock is held."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)
