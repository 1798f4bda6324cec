"""What a recogniser heard beside what was said, word by word: ``transcripts.parquet``, where the run has one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["COLUMNS", "MARKS", "Word", "error_kinds", "read_alignments"]

COLUMNS = ("item_id", "scorer", "operations")
MARKS = {"equal": "=", "hit": "=", "substitution": "s", "substitute": "s", "deletion": "d", "delete": "d",
         "insertion": "i", "insert": "i"}  # fmt: skip
"""Operation to the mark that the page uses."""

Word = tuple[str, str, str]
"""Mark, word that was said, word that was heard; empty where there is none."""


def read_alignments(folder: Path) -> Mapping[str, tuple[Word, ...]]:
    """Item id to its words in order; empty where no recogniser's words were kept. The first scorer by name counts.

    Raises:
        ValueError: the file is truncated or no such table.
    """
    path = folder / "transcripts.parquet"
    if not path.is_file():
        return {}
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=list(COLUMNS)).to_pylist()
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: is truncated or no table of transcripts ({first}); score the run again") from error
    found: dict[str, tuple[Word, ...]] = {}
    for row in sorted(rows, key=lambda row: (str(row["item_id"]), str(row["scorer"]))):
        found.setdefault(str(row["item_id"]), tuple(_word(step) for step in row["operations"] or ()))
    return found


def _word(step: Mapping[str, Any]) -> Word:
    operation = str(step.get("operation", "")).lower()
    return (MARKS.get(operation, operation[:1]), str(step.get("reference") or ""), str(step.get("heard") or ""))


def error_kinds(words: Sequence[Sequence[Word]]) -> Counter[tuple[str, str, str]]:
    """How often each single error came, over many clips: the same word misheard the same way."""
    return Counter(word for line in words for word in line if word[0] != "=")
