"""Step 4 of a run: the score table to ``summary.parquet`` and ``curves.json``. Nothing else aggregates numbers.

Ratios are ratios of sums. Intervals resample speakers. An unknown speaker (empty id) is one cluster with all other
unknown ones, so a run without speakers has estimates and no interval.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evaluation.bootstrap import Interval, Resampler
from evaluation.detection_rates import HeldOut, detection_summary
from evaluation.frames import SUMMARY_SCHEMA, read_generations, read_scores, write_summary
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder, write_json
from evaluation.summary_rows import summary_row
from evaluation.table_queries import blocks, numbers, rows_where

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
        entry for entry in json.loads(run.measures.read_text(encoding="utf-8")) if entry["aggregate"] not in DERIVED
    ]
    resampler = Resampler(seed=seed)
    frame, paired = summary_frame(scores, records, measures, resampler)
    detection = detection_summary(scores, records, resampler, held_out)
    frame = pd.concat([frame, _as_frame(detection.rows)], ignore_index=True) if detection.rows else frame
    write_summary(run.summary, frame)
    write_json(run.curves, {"det": detection.curves})
    write_json(run.measures, [*measures, *paired, *detection.measures])
    return frame


def summary_frame(
    scores: pd.DataFrame,
    records: Sequence[GenerationRecord],
    measures: Sequence[Mapping[str, Any]],
    resampler: Resampler,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Every measure by system, role and group; and the entries of the paired differences that were added."""
    paired_scores, paired_measures = _paired_differences(scores, measures)
    scores = pd.concat([scores, paired_scores], ignore_index=True) if len(paired_scores) else scores
    by_scorer: dict[str, list[Mapping[str, Any]]] = {}
    for entry in [*measures, *paired_measures]:
        by_scorer.setdefault(entry["scorer"], []).append(entry)
    rows: list[dict[str, object]] = []
    for group_by, group, items, speakers in _slices(records):
        part = scores if items is None else rows_where(scores, utterance_id=items)
        for (system, role, scorer), block in blocks(part, ["system", "role", "scorer"]):
            for entry in by_scorer.get(scorer, ()):
                if entry["aggregate"] == "none":
                    continue
                key = {"system": system, "role": role, "group_by": group_by, "group": group, "scorer": scorer}
                rows.append(_measure_row(key, entry, block, speakers, resampler))
    return _as_frame(rows), paired_measures


def _slices(records: Sequence[GenerationRecord]):
    """``(group_by, group, utterance ids or None for all, sorted speakers)`` of the whole and of every group."""
    yield "all", "", None, sorted({record.speaker_id for record in records})
    names = sorted({name for record in records for name in record.groups})
    for name in names:
        for value in sorted({record.groups[name] for record in records if name in record.groups}):
            inside = [record for record in records if record.groups.get(name) == value]
            yield name, value, {record.utterance_id for record in inside}, sorted({r.speaker_id for r in inside})


def _measure_row(
    key: Mapping[str, str],
    entry: Mapping[str, Any],
    block: pd.DataFrame,
    speakers: Sequence[str],
    resampler: Resampler,
) -> dict[str, object]:
    if entry["aggregate"] == "ratio_of_sums":
        above = rows_where(block, measure=entry["numerator"])
        below = rows_where(block, measure=entry["denominator"], status="ok").filter(items=["item_id", "value"])
        values = rows_where(above, status="ok").merge(
            below, on="item_id", suffixes=("", "_below"), validate="one_to_one"
        )
        denominators = numbers(values, "value_below")
    else:
        above = rows_where(block, measure=entry["measure"])
        values = rows_where(above, status="ok")
        denominators = np.ones(len(values))
    position = {speaker: index for index, speaker in enumerate(speakers)}
    index = np.array([position[speaker] for speaker in values["speaker_id"]], dtype=np.int64)
    numerator_sums = np.bincount(index, weights=numbers(values), minlength=len(speakers))
    denominator_sums = np.bincount(index, weights=denominators, minlength=len(speakers))
    if len(values):
        interval = resampler.ratio(speakers, numerator_sums, denominator_sums, (entry.get("low"), entry.get("high")))
    else:
        interval = Interval(math.nan, math.nan, math.nan, "no value")
    return summary_row(
        key,
        measure=entry["measure"],
        interval=interval,
        confidence=resampler.confidence,
        n_items=len(values),
        n_speakers=int(np.count_nonzero(np.bincount(index, minlength=len(speakers)))),
        n_skipped=len(rows_where(above, status="skipped")),
        n_failed=len(rows_where(above, status="failed")),
    )


def _paired_differences(
    scores: pd.DataFrame, measures: Sequence[Mapping[str, Any]]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Pair measures of a continuation minus those of another speaker's, on the same prompt, as scores of their own."""
    found, entries = [], []
    for entry in measures:
        if entry["aggregate"] != "mean" or "prompt" not in entry.get("protocol", {}).get("needs", ()):
            continue
        rows = rows_where(scores, scorer=entry["scorer"], measure=entry["measure"])
        own = rows_where(rows, role="continuation")
        floor = rows_where(rows, role="shuffled", status="ok").filter(items=["utterance_id", "system", "value"])
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
