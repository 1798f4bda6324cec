"""The long score table turned into one array per measure, so that groups and replicates are plain arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.table_queries import blocks, numbers

__all__ = ["FAILED", "OK", "SKIPPED", "MeasureColumn", "measure_columns"]

OK, SKIPPED, FAILED = 0, 1, 2
STATUS_CODES = {"ok": OK, "skipped": SKIPPED, "failed": FAILED}


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureColumn:
    """One measure of one system, role and scorer, item by item; all arrays are ``[item]``.

    The measure is the sum of ``numerators`` by the sum of ``denominators`` over items with status ``OK``; a mean has
    denominators of 1. ``bounds`` are the measure's own, None where it has none.
    """

    key: Mapping[str, str]
    measure: str
    bounds: tuple[float | None, float | None]
    utterances: tuple[str, ...]
    speakers: tuple[str, ...]
    status: np.ndarray
    numerators: np.ndarray
    denominators: np.ndarray


def measure_columns(scores: pd.DataFrame, measures: Sequence[Mapping[str, Any]]) -> list[MeasureColumn]:
    """A column for each entry of ``measures`` that is summarised and has rows, in order of key and measure."""
    by_scorer: dict[str, list[Mapping[str, Any]]] = {}
    for entry in measures:
        if entry["aggregate"] not in ("none", "set"):
            by_scorer.setdefault(entry["scorer"], []).append(entry)
    columns = []
    for (system, role, scorer), block in blocks(scores, ["system", "role", "scorer"]):
        tables = {measure: rows for (measure,), rows in blocks(block, ["measure"])}
        key = {"system": system, "role": role, "scorer": scorer}
        for entry in sorted(by_scorer.get(scorer, ()), key=lambda entry: entry["measure"]):
            ratio = entry["aggregate"] == "ratio_of_sums"
            rows = tables.get(entry["numerator"] if ratio else entry["measure"])
            if rows is not None:
                columns.append(_column(key, entry, rows, tables.get(entry["denominator"]) if ratio else None))
    return columns


def _column(
    key: Mapping[str, str], entry: Mapping[str, Any], rows: pd.DataFrame, below: pd.DataFrame | None
) -> MeasureColumn:
    status = np.array([STATUS_CODES[value] for value in rows["status"]], dtype=np.int8)
    denominators = np.ones(len(rows))
    if entry["aggregate"] == "ratio_of_sums":
        known = {} if below is None else dict(zip(below["item_id"], numbers(below), strict=True))
        denominators = np.array([known.get(item, np.nan) for item in rows["item_id"]], dtype=np.float64)
        status = np.where((status == OK) & ~np.isfinite(denominators), np.int8(FAILED), status)
    return MeasureColumn(
        key=dict(key),
        measure=entry["measure"],
        bounds=(entry.get("low"), entry.get("high")),
        utterances=tuple(rows["utterance_id"]),
        speakers=tuple(rows["speaker_id"]),
        status=status,
        numerators=numbers(rows),
        denominators=denominators,
    )
