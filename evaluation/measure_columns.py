"""The long score table turned into one array per measure, so that groups and replicates are plain arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.table_queries import numbers

__all__ = ["FAILED", "OK", "SKIPPED", "Coded", "MeasureColumn", "measure_columns"]

OK, SKIPPED, FAILED = 0, 1, 2
STATUS_CODES = {"ok": OK, "skipped": SKIPPED, "failed": FAILED}


@dataclass(frozen=True, slots=True)
class Coded:
    """Texts as numbers: ``codes`` ``[item]`` point into ``names``, which all columns of a table share."""

    codes: np.ndarray
    names: tuple[str, ...]

    def taken(self, places: np.ndarray) -> Coded:
        return Coded(self.codes[places], self.names)

    def looked_up(self, numbers_of: Mapping[str, int]) -> np.ndarray:
        """Each item's number by its text, int64 ``[item]``; -1 where the text has none."""
        return np.array([numbers_of.get(name, -1) for name in self.names], dtype=np.int64)[self.codes]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureColumn:
    """One measure of one system, role and scorer, item by item; all arrays are ``[item]``.

    The measure is the sum of ``numerators`` by the sum of ``denominators`` over items with status ``OK``; a mean has
    denominators of 1. ``bounds`` are the measure's own, None where it has none.
    """

    key: Mapping[str, str]
    measure: str
    bounds: tuple[float | None, float | None]
    utterances: Coded
    speakers: Coded
    status: np.ndarray
    numerators: np.ndarray
    denominators: np.ndarray


@dataclass(frozen=True, slots=True)
class _Table:
    """The score table with each column of texts looked at once; ``places``: rows by system, role, scorer, measure."""

    places: Mapping[tuple[str, str, str, str], np.ndarray]
    items: np.ndarray
    utterances: Coded
    speakers: Coded
    status: np.ndarray
    values: np.ndarray


def measure_columns(scores: pd.DataFrame, measures: Sequence[Mapping[str, Any]]) -> list[MeasureColumn]:
    """A column for each entry of ``measures`` that is summarised and has rows, in order of key and measure."""
    by_scorer: dict[str, list[Mapping[str, Any]]] = {}
    for entry in measures:
        if entry["aggregate"] not in ("none", "set"):
            by_scorer.setdefault(entry["scorer"], []).append(entry)
    table = _table(scores)
    columns = []
    for system, role, scorer in sorted({place[:3] for place in table.places}):
        key = {"system": system, "role": role, "scorer": scorer}
        for entry in sorted(by_scorer.get(scorer, ()), key=lambda entry: entry["measure"]):
            ratio = entry["aggregate"] == "ratio_of_sums"
            rows = table.places.get((system, role, scorer, entry["numerator"] if ratio else entry["measure"]))
            if rows is not None:
                below = table.places.get((system, role, scorer, entry["denominator"])) if ratio else None
                columns.append(_column(table, key, entry, rows, below))
    return columns


def _table(scores: pd.DataFrame) -> _Table:
    keys = [_coded(scores, name) for name in ("system", "role", "scorer", "measure")]
    place = np.zeros(len(scores), dtype=np.int64)
    for key in keys:
        place = place * max(1, len(key.names)) + key.codes
    order = np.argsort(place, kind="stable")
    edges = np.flatnonzero(np.diff(place[order])) + 1
    places = {}
    for rows in np.split(order, edges) if len(order) else ():
        system, role, scorer, measure = (key.names[key.codes[rows[0]]] for key in keys)
        places[system, role, scorer, measure] = rows
    status = _coded(scores, "status")
    codes = np.array([STATUS_CODES[name] for name in status.names], dtype=np.int8)
    return _Table(
        places=places,
        items=_coded(scores, "item_id").codes,
        utterances=_coded(scores, "utterance_id"),
        speakers=_coded(scores, "speaker_id"),
        status=codes[status.codes],
        values=numbers(scores),
    )


def _coded(scores: pd.DataFrame, name: str) -> Coded:
    codes, names = pd.factorize(scores[name])
    return Coded(np.asarray(codes, dtype=np.int64), tuple(str(one) for one in names))


def _column(
    table: _Table, key: Mapping[str, str], entry: Mapping[str, Any], rows: np.ndarray, below: np.ndarray | None
) -> MeasureColumn:
    status = table.status[rows]
    denominators = np.ones(len(rows))
    if entry["aggregate"] == "ratio_of_sums":
        known = np.full(1 + int(table.items.max()), np.nan)
        if below is not None:
            known[table.items[below]] = table.values[below]
        denominators = known[table.items[rows]]
        status = np.where((status == OK) & ~np.isfinite(denominators), np.int8(FAILED), status)
    return MeasureColumn(
        key=dict(key),
        measure=entry["measure"],
        bounds=(entry.get("low"), entry.get("high")),
        utterances=table.utterances.taken(rows),
        speakers=table.speakers.taken(rows),
        status=status,
        numerators=table.values[rows],
        denominators=denominators,
    )
