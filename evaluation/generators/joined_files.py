"""Files of an outside system that hold prompt and continuation in one."""

from __future__ import annotations

from evaluation.outside_files import JOINED, OutsideFilesEntry

__all__ = ["GENERATOR"]

GENERATOR = OutsideFilesEntry(JOINED, joined=True)
