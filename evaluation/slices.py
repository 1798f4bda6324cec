"""Fairness slices: one measure for each group of speakers, generated minus recorded on the same utterances.

The recogniser that hears one accent worse than another does so on recordings as well; the difference takes that out.
Labels are permuted by speaker, p-values adjusted over all slices and measures at once, and a cell with fewer speakers
than ``MIN_SPEAKERS`` stays in the table as ``too few``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from evaluation.bootstrap import Interval, Resampler
from evaluation.item_values import find_measure, item_values, speaker_sums
from evaluation.multiplicity import adjust
from evaluation.permutation import group_gap_p
from evaluation.records import GenerationRecord
from evaluation.table_queries import kept_rows, rows_where

__all__ = ["MIN_SPEAKERS", "SLICE_COLUMNS", "Slice", "slice_table"]

MIN_SPEAKERS = 5
TOO_FEW, JUDGED = "too few", "ok"
REFERENCE = "reference"
NO_RECORDINGS = "no recordings in this run, so what the measure itself does to a group is not taken out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One cell. ``estimate``: of the role; ``reference``: of the recordings; ``excess``: their difference on the same
    utterances, with interval; ``gap``: excess of this group less that of everybody else; ``p`` and ``p_adjusted`` of
    that gap; ``status``: ``ok`` or ``too few``. Where a run has no recordings (files judged as they are), ``reference``
    is NaN and ``excess`` the number itself; ``method`` says so."""

    axis: str
    group: str
    measure: str
    role: str
    estimate: float
    reference: float
    excess: float
    excess_low: float
    excess_high: float
    gap: float
    p: float
    p_adjusted: float
    n_items: int
    n_speakers: int
    n_missing: int
    status: str
    method: str


SLICE_COLUMNS = tuple(Slice.__dataclass_fields__)


def slice_table(
    scores: pd.DataFrame,
    records: Sequence[GenerationRecord],
    measures: Sequence[Mapping[str, Any]],
    *,
    names: Iterable[str],
    axes: Sequence[str],
    roles: Sequence[str],
    resampler: Resampler,
    method: str = "holm",
    groups: Mapping[str, Mapping[str, str]] | None = None,
) -> pd.DataFrame:
    """A row per axis, group, measure and role, in that order.

    ``groups``: groups by utterance id where they do not come from the records (another column of the manifest).

    Raises:
        ValueError: an axis that no utterance has, or a measure that the run does not have.
    """
    labels = groups or {record.utterance_id: dict(record.groups) for record in records}
    known = sorted({axis for found in labels.values() for axis in found})
    found: list[Slice] = []
    for axis in axes:
        if axis not in known:
            raise ValueError(f"no utterance has a column {axis!r}; this run has {', '.join(known) or 'none'}")
        for name in names:
            entry = find_measure(measures, name)
            for role in roles:
                pairs = _pairs(scores, entry, role)
                if len(pairs):
                    found += _cells(pairs, entry, role, axis, labels, resampler)
    frame = pd.DataFrame([asdict(one) for one in found], columns=list(SLICE_COLUMNS))
    frame["p_adjusted"] = adjust(frame["p"].to_numpy(dtype=np.float64), method)
    return frame


def _pairs(scores: pd.DataFrame, entry: Mapping[str, Any], role: str) -> pd.DataFrame:
    """Items of a role beside their recordings'; without a recording of its own (``recorded``) the latter is NaN."""
    own = item_values(scores, entry, role)
    reference = item_values(scores, entry, REFERENCE).loc[:, ["utterance_id", "above", "below"]]
    return own.merge(reference, on="utterance_id", how="left", suffixes=("", "_reference"))


def _cells(
    pairs: pd.DataFrame, entry: Mapping[str, Any], role: str, axis: str, labels: Mapping[str, Mapping[str, str]],
    resampler: Resampler,
) -> list[Slice]:  # fmt: skip
    group_of = pairs["utterance_id"].map(lambda name: labels.get(name, {}).get(axis, ""))
    labelled = kept_rows(pairs.assign(group=group_of), group_of != "")
    speakers = sorted(set(labelled["speaker_id"]))
    bare = not labelled["above_reference"].notna().any()
    excess = labelled if bare else _excess(labelled)
    above, below = speaker_sums(excess, speakers)
    generator = np.random.default_rng([resampler.seed, len(axis), 11])
    found = []
    for group in sorted(set(labelled["group"])):
        part = rows_where(labelled, group=group)
        own = rows_where(excess, group=group)
        inside = np.isin(speakers, sorted(set(part["speaker_id"])))
        counted = sorted(set(own.loc[np.isfinite(own["above"]) & np.isfinite(own["below"]), "speaker_id"]))
        enough = len(counted) >= MIN_SPEAKERS and int((~inside & (below > 0)).sum()) >= MIN_SPEAKERS
        interval = resampler.ratio(counted, *speaker_sums(own, counted)) if counted else _nothing()
        rest = _ratio(float(above[~inside].sum()), float(below[~inside].sum()))
        has = below > 0
        p = group_gap_p(above[has], below[has], inside[has], generator) if enough else math.nan
        found.append(Slice(
            axis=axis, group=group, measure=f"{entry['scorer']}/{entry['measure']}", role=role,
            estimate=_of(part, ""), reference=_of(part, "_reference"), excess=interval.estimate,
            excess_low=interval.low, excess_high=interval.high, gap=interval.estimate - rest, p=p, p_adjusted=math.nan,
            n_items=int(np.isfinite(own["above"]).sum()), n_speakers=len(counted),
            n_missing=int((part["status"] != "ok").sum()), status=JUDGED if enough else TOO_FEW,
            method=f"{interval.method}; {NO_RECORDINGS}" if bare else interval.method,
        ))  # fmt: skip
    return found


def _excess(pairs: pd.DataFrame) -> pd.DataFrame:
    """Role minus recording, over the role's own denominator (for word errors the same words)."""
    scale = pairs["below"] / pairs["below_reference"]
    return pairs.assign(above=pairs["above"] - pairs["above_reference"] * scale)


def _of(part: pd.DataFrame, suffix: str) -> float:
    above, below = part[f"above{suffix}"], part[f"below{suffix}"]
    kept = np.isfinite(above) & np.isfinite(below)
    return _ratio(float(above[kept].sum()), float(below[kept].sum()))


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else math.nan


def _nothing() -> Interval:
    return Interval(math.nan, math.nan, math.nan, "no value: no utterance has both the clip and its recording")
