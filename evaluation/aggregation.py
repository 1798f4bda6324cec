"""Step 4 of a run: the score table to ``summary.parquet`` and ``curves.json``. Nothing else aggregates numbers.

Ratios are ratios of sums. Intervals resample speakers. An unknown speaker (empty id) is one cluster with all other
unknown ones, so a run without speakers has estimates and no interval.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.bootstrap import Interval, Resampler
from evaluation.corpus_scoring import read_set_values
from evaluation.detection_rates import HeldOut, detection_summary
from evaluation.frames import SUMMARY_SCHEMA, read_generations, read_scores, write_summary
from evaluation.measure_columns import FAILED, OK, SKIPPED, MeasureColumn, measure_columns
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder, write_json
from evaluation.shortcut_audit import run_shortcuts
from evaluation.summary_rows import summary_row
from evaluation.table_queries import blocks, rows_where
from evaluation.transcripts import read_transcripts
from evaluation.word_keeping import WORDS_KEPT, words_kept_scores

__all__ = ["PAIRED_PREFIX", "summarise", "summary_frame"]

PAIRED_PREFIX = "paired:"
DERIVED = ("paired_difference", "detection")
"""Values of ``aggregate`` for measures that are made here, not by a scorer."""


def summarise(run: RunFolder, *, seed: int, held_out: Callable[[str], HeldOut] | None = None) -> pd.DataFrame:
    """Read the tables of a run, write ``summary.parquet`` and ``curves.json``, complete ``measures.json``.

    ``held_out`` gives a detector's own scores of held-out human speech by detector name, for runs without human
    recordings.
    """
    records = read_generations(run.generations)
    scores = read_scores(run.scores)
    measures = [
        entry
        for entry in json.loads(run.measures.read_text(encoding="utf-8"))
        if entry["aggregate"] not in DERIVED and entry["scorer"] != WORDS_KEPT
    ]
    kept_scores, kept_measures = words_kept_scores(scores, measures, read_transcripts(run.transcripts))
    scores = pd.concat([scores, kept_scores], ignore_index=True) if len(kept_scores) else scores
    measures += kept_measures
    resampler = Resampler(seed=seed)
    frame, paired = summary_frame(scores, records, measures, resampler)
    detection = detection_summary(scores, records, resampler, held_out)
    extra = [*detection.rows, *_set_rows(run, records, resampler)]
    frame = pd.concat([frame, _as_frame(extra)], ignore_index=True) if extra else frame
    write_summary(run.summary, frame)
    write_json(run.curves, {"det": detection.curves, "shortcuts": run_shortcuts(run.path, records, seed=seed)})
    write_json(run.measures, [*measures, *paired, *detection.measures])
    return frame


def _set_rows(run: RunFolder, records: Sequence[GenerationRecord], resampler: Resampler) -> list[Mapping[str, object]]:
    """Numbers of whole sets, which bring their own intervals."""
    systems = {record.role: record.system for record in records}
    return [
        summary_row(
            {"system": systems.get(value.role, ""), "role": value.role, "group_by": "all", "group": "", "scorer": name},
            measure=value.measure,
            interval=value.interval,
            confidence=resampler.confidence,
            n_items=value.n_items,
            n_speakers=value.n_speakers,
            n_skipped=0,
            n_failed=0,
        )
        for name, value in read_set_values(run)
    ]


def summary_frame(
    scores: pd.DataFrame,
    records: Sequence[GenerationRecord],
    measures: Sequence[Mapping[str, Any]],
    resampler: Resampler,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Every measure by system, role and group; and the entries of the paired differences that were added."""
    paired_scores, paired_measures = _paired_differences(scores, measures)
    scores = pd.concat([scores, paired_scores], ignore_index=True) if len(paired_scores) else scores
    columns = measure_columns(scores, [*measures, *paired_measures])
    rows = []
    for part in _parts(records):
        places = part.places(columns)
        for column in columns:
            inside = places.inside[column.utterances.codes]
            if part.utterances is None or inside.any():
                rows.append(_measure_row(part, places, column, inside, resampler))
    return _as_frame(rows), paired_measures


@dataclass(frozen=True, slots=True)
class _Places:
    """For the coded texts of all columns: whether an utterance is in a part, bool ``[utterance]``, and the place of a
    speaker in its resampling plan, int ``[speaker]``."""

    inside: np.ndarray
    speaker: np.ndarray


@dataclass(frozen=True, slots=True)
class _Part:
    """The whole run, or the utterances of one group; ``speakers`` are sorted and carry the resampling plan."""

    group_by: str
    group: str
    utterances: frozenset[str] | None
    speakers: tuple[str, ...]

    def places(self, columns: Sequence[MeasureColumn]) -> _Places:
        """One look-up for all columns, which share their names."""
        if not columns:
            return _Places(np.zeros(0, dtype=bool), np.zeros(0, dtype=np.int64))
        utterances, speakers = columns[0].utterances.names, columns[0].speakers.names
        inside = np.array([self.utterances is None or name in self.utterances for name in utterances], dtype=bool)
        position = {speaker: index for index, speaker in enumerate(self.speakers)}
        return _Places(inside, np.array([position.get(name, -1) for name in speakers], dtype=np.int64))


def _parts(records: Sequence[GenerationRecord]) -> Iterator[_Part]:
    yield _Part("all", "", None, tuple(sorted({record.speaker_id for record in records})))
    members: dict[tuple[str, str], list[GenerationRecord]] = {}
    for record in records:
        for name, value in record.groups.items():
            members.setdefault((name, value), []).append(record)
    for (name, value), inside in sorted(members.items()):
        speakers = tuple(sorted({record.speaker_id for record in inside}))
        yield _Part(name, value, frozenset(record.utterance_id for record in inside), speakers)


def _measure_row(
    part: _Part, places: _Places, column: MeasureColumn, inside: np.ndarray, resampler: Resampler
) -> dict[str, object]:
    used = inside & (column.status == OK)
    index = places.speaker[column.speakers.codes[used]]
    size = len(part.speakers)
    if len(index):
        above = np.bincount(index, weights=column.numerators[used], minlength=size)
        below = np.bincount(index, weights=column.denominators[used], minlength=size)
        interval = resampler.ratio(part.speakers, above, below, column.bounds)
    else:
        interval = Interval(math.nan, math.nan, math.nan, "no value")
    return summary_row(
        {**column.key, "group_by": part.group_by, "group": part.group},
        measure=column.measure,
        interval=interval,
        confidence=resampler.confidence,
        n_items=len(index),
        n_speakers=len(np.unique(index)),
        n_skipped=int((inside & (column.status == SKIPPED)).sum()),
        n_failed=int((inside & (column.status == FAILED)).sum()),
    )


def _paired_differences(
    scores: pd.DataFrame, measures: Sequence[Mapping[str, Any]]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Pair measures of a continuation minus those of another speaker's, on the same prompt, as scores of their own."""
    found, entries = [], []
    tables = dict(blocks(rows_where(scores, role=("continuation", "shuffled")), ["scorer", "measure", "role"]))
    for entry in measures:
        if entry["aggregate"] != "mean" or "prompt" not in entry.get("protocol", {}).get("needs", ()):
            continue
        own, floor = (tables.get((entry["scorer"], entry["measure"], role)) for role in ("continuation", "shuffled"))
        if own is None or floor is None:
            continue
        floor = rows_where(floor, status="ok").filter(items=["utterance_id", "system", "value"])
        joined = own.merge(floor, on=["utterance_id", "system"], suffixes=("", "_f"))
        if not len(joined):
            continue
        joined["value"] = joined["value"] - joined["value_f"]
        joined["scorer"] = PAIRED_PREFIX + entry["scorer"]
        found.append(joined.drop(columns="value_f"))
        entries.append(_paired_entry(entry))
    return (pd.concat(found, ignore_index=True) if found else scores.iloc[:0]), entries


def _paired_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    return dict(entry) | {
        "scorer": PAIRED_PREFIX + entry["scorer"],
        "scorer_title": f"{entry['scorer_title']}, continuation minus another speaker's",
        "title": f"{entry['title']}, above the floor",
        "meaning": f"continuation minus shuffled on the same prompts, of: {entry['meaning']}",
        "low": None,
        "high": None,
        "aggregate": "paired_difference",
    }


def _as_frame(rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=SUMMARY_SCHEMA.names)
