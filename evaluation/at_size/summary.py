"""The summary of score parts, read one after the other: per measure, group and speaker nothing is kept but sums.

That is all that speaker-resampling intervals need (``bootstrap.py``), so memory grows with speakers and groups only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.at_size.tables import PART_GLOB
from evaluation.bootstrap import Interval, Resampler
from evaluation.frames import SUMMARY_SCHEMA, check_scores
from evaluation.measure_columns import FAILED, OK, SKIPPED, MeasureColumn, measure_columns
from evaluation.run_folder import RunFolder
from evaluation.summary_rows import summary_row

__all__ = ["StreamedSummary", "summarise_parts"]

ROWS = 20_000
"""Score rows in memory at a time."""
GROUP_PREFIX = "group:"
WHOLE = ("all", "")

Place = tuple[str, str, str, str, str, str]
"""system, role, scorer, measure, axis, group."""


@dataclass(slots=True)
class _Sums:
    """By speaker: sums over items with a value, and how many; over all: items without one."""

    above: np.ndarray = field(default_factory=lambda: np.zeros(0))
    below: np.ndarray = field(default_factory=lambda: np.zeros(0))
    items: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    skipped: int = 0
    failed: int = 0
    bounds: tuple[float | None, float | None] = (None, None)

    def add(self, column: MeasureColumn, speakers: np.ndarray, n_speakers: int, inside: np.ndarray) -> None:
        if len(self.above) < n_speakers:
            more = max(n_speakers, 2 * len(self.above)) - len(self.above)
            self.above, self.below = np.pad(self.above, (0, more)), np.pad(self.below, (0, more))
            self.items = np.pad(self.items, (0, more))
        used = inside & (column.status == OK)
        np.add.at(self.above, speakers[used], column.numerators[used])
        np.add.at(self.below, speakers[used], column.denominators[used])
        np.add.at(self.items, speakers[used], 1)
        self.skipped += int((inside & (column.status == SKIPPED)).sum())
        self.failed += int((inside & (column.status == FAILED)).sum())
        self.bounds = column.bounds


@dataclass(slots=True)
class StreamedSummary:
    """What was found: the SummaryFrame, and how many items and scores have which status."""

    frame: pd.DataFrame
    items: dict[str, dict[str, int]]
    scores: dict[str, int]


def summarise_parts(run: RunFolder, measures: Sequence[Mapping[str, Any]], resampler: Resampler) -> StreamedSummary:
    """Every measure by system, role and group, as ``summary_frame`` gives it for tables in memory.

    Raises:
        ValueError: a part breaks the rules of its table.
    """
    sums = _Collector(measures)
    for scores, records in _chunks(run):
        sums.add(scores, records)
    return StreamedSummary(sums.frame(resampler), sums.items, dict(sorted(sums.statuses.items())))


def _chunks(run: RunFolder) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Scores and the records they belong to, several parts at a time."""
    folder = run.generations.with_suffix("")
    held: list[tuple[pa.Table, pa.Table]] = []
    for path in sorted(run.scores.with_suffix("").glob(PART_GLOB)):
        held.append((_read(path), _read(folder / path.name)))
        if sum(scores.num_rows for scores, _ in held) >= ROWS:
            yield _joined(path, held)
            held = []
    if held:
        yield _joined(folder, held)


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); delete it and run again with --resume") from error


def _joined(path: Path, held: Sequence[tuple[pa.Table, pa.Table]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    scores = pa.concat_tables([one for one, _ in held]).to_pandas()
    check_scores(path, scores)
    return scores, pa.concat_tables([one for _, one in held]).to_pandas()


class _Collector:
    def __init__(self, measures: Sequence[Mapping[str, Any]]) -> None:
        self._measures = measures
        self._speakers: dict[str, int] = {}
        self._sums: dict[Place, _Sums] = {}
        self._members: dict[tuple[str, str], np.ndarray] = {WHOLE: np.zeros(0, dtype=bool)}
        self.items: dict[str, dict[str, int]] = {}
        self.statuses: dict[str, int] = {}

    def add(self, scores: pd.DataFrame, records: pd.DataFrame) -> None:
        for (role, status), count in records.value_counts(["role", "status"]).items():  # type: ignore[misc]
            found = self.items.setdefault(str(role), {})
            found[str(status)] = found.get(str(status), 0) + int(count)
        for status, count in scores["status"].value_counts().items():
            self.statuses[str(status)] = self.statuses.get(str(status), 0) + int(count)
        parts = self._parts(records)
        position = {name: place for place, name in enumerate(records["utterance_id"])}
        for column in measure_columns(scores, self._measures):
            speakers = column.speakers.looked_up(self._speakers)
            rows = column.utterances.looked_up(position)
            for (axis, group), members in parts.items():
                inside = members[rows]
                if group and not inside.any():
                    continue
                key = column.key
                place = (key["system"], key["role"], key["scorer"], column.measure, axis, group)
                self._sums.setdefault(place, _Sums()).add(column, speakers, len(self._speakers), inside)

    def _parts(self, records: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
        """Which records belong to the whole and to each group, bool ``[record]``."""
        speakers = [self._speakers.setdefault(name, len(self._speakers)) for name in records["speaker_id"]]
        index = np.array(speakers, dtype=np.int64)
        parts: dict[tuple[str, str], np.ndarray] = {WHOLE: np.ones(len(records), dtype=bool)}
        for column in records.columns:
            if column.startswith(GROUP_PREFIX):
                values = records[column]
                for value in values.dropna().unique():
                    parts[column.removeprefix(GROUP_PREFIX), str(value)] = (values == value).to_numpy(dtype=bool)
        for part, members in parts.items():
            known = self._members.get(part, np.zeros(0, dtype=bool))
            if len(known) < len(self._speakers):
                known = np.pad(known, (0, max(len(self._speakers), 2 * len(known)) - len(known)))
            known[index[members]] = True
            self._members[part] = known
        return parts

    def frame(self, resampler: Resampler) -> pd.DataFrame:
        groups = {part: self._ordered(members) for part, members in self._members.items()}
        first = [part for part in groups if part == WHOLE] + sorted(part for part in groups if part != WHOLE)
        order = {part: place for place, part in enumerate(first)}
        rows = [
            self._row(place, sums, *groups[place[4], place[5]], resampler)
            for place, sums in sorted(self._sums.items(), key=lambda item: (order[item[0][4:]], item[0][:4]))
        ]
        return pd.DataFrame(rows, columns=SUMMARY_SCHEMA.names)

    def _ordered(self, members: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Names of a part's speakers, sorted, and their indices in the sums."""
        names = list(self._speakers)
        found = sorted(np.flatnonzero(members).tolist(), key=names.__getitem__)
        return [names[one] for one in found], np.array(found, dtype=np.int64)

    def _row(
        self, place: Place, sums: _Sums, speakers: Sequence[str], index: np.ndarray, resampler: Resampler
    ) -> dict[str, object]:
        system, role, scorer, measure, axis, group = place
        size = max(len(self._speakers), len(sums.items))
        items = np.pad(sums.items, (0, size - len(sums.items)))[index]
        above = np.pad(sums.above, (0, size - len(sums.above)))[index]
        below = np.pad(sums.below, (0, size - len(sums.below)))[index]
        interval = Interval(math.nan, math.nan, math.nan, "no value")
        if items.any():
            interval = resampler.ratio(speakers, above, below, sums.bounds)
        return summary_row(
            {"system": system, "role": role, "group_by": axis, "group": group, "scorer": scorer},
            measure=measure,
            interval=interval,
            confidence=resampler.confidence,
            n_items=int(items.sum()),
            n_speakers=int(np.count_nonzero(items)),
            n_skipped=sums.skipped,
            n_failed=sums.failed,
        )
