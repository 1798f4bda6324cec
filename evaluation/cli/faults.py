"""What a machine does to a command, in a sentence: a full disk, a folder without rights, no memory, a signal to end."""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Terminated", "sentence_of", "sigterm_raises"]

GO_ON = "the same command with --resume goes on where there is that option"


class Terminated(BaseException):
    """The process was asked to end (SIGTERM); not an error that anything on the way may swallow."""


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Inside, SIGTERM unwinds the call, so that locks and half-written files go; a child process keeps its own way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def unwind(number: int, frame: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def sentence_of(error: BaseException) -> str:
    """An error as one sentence that says what to do."""
    if isinstance(error, MemoryError):
        return f"there is not enough memory for this; use fewer --workers or a machine with more; {GO_ON}"
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    where = error.filename if isinstance(error.filename, str) else "a file of this run"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}: no space is left to write it; nothing was left half-written; free space, and {GO_ON}"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}: {error.strerror}; name a folder that this user may read and write"
    return f"{where}: {error.strerror or error}; {GO_ON}"
