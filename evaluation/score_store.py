"""Results by content: what was computed once is not computed again, whatever run of the folder asks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from evaluation.config import digest_of
from evaluation.table_seals import DamagedTableError, read_sealed, write_sealed
from evaluation.whole_files import remove_leftovers

__all__ = ["NOTE", "Cell", "ScoreStore"]

logger = logging.getLogger(__name__)

NOTE = "note"
"""Status of a cell that is no measure: its ``reason`` is a text that the scorer gave beside the values."""

PART_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("measure", pa.string()),
        ("value", pa.float64()),
        ("status", pa.string()),
        ("reason", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One measure of one item: a finite value with status ``ok``, or NaN, a status and a reason."""

    measure: str
    value: float
    status: str = "ok"
    reason: str = ""


class ScoreStore:
    """Parts in a folder, one per shard, each written whole or not at all; failures are left out and tried again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._cells: dict[str, list[Cell]] = {}
        remove_leftovers(folder)
        for part in sorted(folder.glob("*.parquet")):
            self._read(part)

    def get(self, key: str) -> list[Cell] | None:
        return self._cells.get(key)

    def add(self, new: dict[str, Sequence[Cell]]) -> None:
        """Keep one shard's results, in memory and on disk."""
        kept = {
            key: list(cells) for key, cells in sorted(new.items()) if all(cell.status != "failed" for cell in cells)
        }
        if not kept:
            return
        self._cells.update(kept)
        rows = [
            {"key": key, "measure": cell.measure, "value": cell.value, "status": cell.status, "reason": cell.reason}
            for key, cells in kept.items()
            for cell in cells
        ]
        write_sealed(self._folder / f"{digest_of(sorted(kept))[:24]}.parquet", pa.Table.from_pylist(rows, PART_SCHEMA))

    def _read(self, part: Path) -> None:
        try:
            table = read_sealed(part)
        except DamagedTableError as error:
            logger.warning("%s; what it held is computed again", error)
            part.unlink()
            return
        found: dict[str, list[Cell]] = {}
        for row in table.to_pylist():
            cell = Cell(row["measure"], row["value"], row["status"], row["reason"])
            found.setdefault(row["key"], []).append(cell)
        self._cells.update(found)
