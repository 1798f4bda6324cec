"""Files of an outside system that continue the prompts; each starts where its prompt ends."""

from __future__ import annotations

from evaluation.outside_files import FILES, OutsideFilesEntry

__all__ = ["GENERATOR"]

GENERATOR = OutsideFilesEntry(FILES, joined=False)
