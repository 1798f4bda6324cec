"""Text of strangers on a terminal: names and transcripts must not move the cursor, ring, or hide what stands there."""

from __future__ import annotations

import logging
import sys
from typing import Any, TextIO

__all__ = ["PlainFormatter", "PlainText", "log_to_terminal", "plain"]

HIDDEN = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ufeff"
"""Marks that turn the direction of writing, and separators that some programs take for line ends."""
ESCAPES = {number: f"\\x{number:02x}" for number in (*range(0x20), *range(0x7F, 0xA0)) if chr(number) not in "\n\t"} | {
    ord(mark): f"\\u{ord(mark):04x}" for mark in HIDDEN
}


def plain(text: str) -> str:
    """``text`` with control characters, direction marks and broken characters shown as escapes."""
    return text.translate(ESCAPES).encode("utf-8", "backslashreplace").decode("utf-8")


class PlainText:
    """A stream that writes :func:`plain` text to another one and is that one in everything else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(plain(text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class PlainFormatter(logging.Formatter):
    """Log lines, made plain."""

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


def log_to_terminal() -> None:
    """Warnings of all parts to standard error, unless somebody has set up logging already."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PlainFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
