"""How well each detector tells this run's audio from bona fide speech: error rates with intervals, and curves.

Bona fide speech is, in this order: human recordings of this run passed through the codec (the control of Borsos et
al. 2023, section IV-F: else a detector may hear the codec only), the recordings themselves, and where the run has
no human recordings, the detector's own scores on held-out human speech.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from detectors import error_rates
from evaluation.bootstrap import Interval, Resampler
from evaluation.detector_scorer import DETECTOR_PREFIX
from evaluation.records import GenerationRecord
from evaluation.summary_rows import summary_row
from evaluation.table_queries import blocks, numbers, rows_where

__all__ = ["DetectionSummary", "HeldOut", "detection_summary"]

SYNTHETIC_ROLES = ("acoustic", "continuation", "unconditional", "recorded")
HUMAN_ROLES = ("codec", "reference")
HELD_OUT_CONDITIONS = ("codec", "clean")
MIN_CLIPS = 2
MAX_CURVE_POINTS = 2000

HeldOut = Sequence[Mapping[str, Any]]
"""Rows with ``speaker_id``, ``condition``, ``split`` and ``llr`` (None where the detector abstained)."""


@dataclass(frozen=True, slots=True)
class _Class:
    """Scores of one class: nats ``[clip]`` and the speaker of each; ``source`` in words for the report."""

    name: str
    llr: np.ndarray
    speakers: tuple[str, ...]
    source: str


@dataclass(slots=True)
class DetectionSummary:
    """Summary rows, detection curves and the measures' entries."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    measures: list[dict[str, Any]] = field(default_factory=list)


def detection_summary(
    scores: pd.DataFrame,
    records: Sequence[GenerationRecord],
    resampler: Resampler,
    held_out: Callable[[str], HeldOut] | None = None,
) -> DetectionSummary:
    """EER and Cllr per detector, system, synthetic role and bona fide source."""
    found = DetectionSummary()
    human = {record.item_id for record in records if record.origin == "human"}
    for (scorer,), rows in blocks(rows_where(scores, measure="llr"), ["scorer"]):
        if not scorer.startswith(DETECTOR_PREFIX):
            continue
        name = scorer.removeprefix(DETECTOR_PREFIX)
        sources = _human_sources(rows_where(rows, item_id=human)) or _held_out_sources(name, held_out)
        for (system, role), block in blocks(rows, ["system", "role"]):
            synthetic = _scored(block, role, "")
            if role not in SYNTHETIC_ROLES or len(synthetic.llr) < MIN_CLIPS:
                continue
            for place, bona_fide in enumerate(sources):
                suffix = "" if place == 0 else f"_{bona_fide.name}"
                key = {"system": system, "role": role, "group_by": "all", "group": "", "scorer": scorer}
                _add_pair(found, key, name, suffix, bona_fide, synthetic, block, resampler)
    return found


def _scored(block: pd.DataFrame, name: str, source: str) -> _Class:
    ok = rows_where(block, status="ok")
    return _Class(name, numbers(ok), tuple(ok["speaker_id"]), source)


def _human_sources(rows: pd.DataFrame) -> list[_Class]:
    words = {"codec": "human recordings of this run through the codec", "reference": "human recordings of this run"}
    classes = [_scored(rows_where(rows, role=role), role, words[role]) for role in HUMAN_ROLES]
    return [one for one in classes if len(one.llr) >= MIN_CLIPS]


def _held_out_sources(name: str, held_out: Callable[[str], HeldOut] | None) -> list[_Class]:
    scored = [row for row in (held_out(name) if held_out else ()) if row.get("llr") is not None]
    if any(row.get("split") == "test" for row in scored):
        scored = [row for row in scored if row.get("split") == "test"]
    conditions = sorted({str(row.get("condition", "")) for row in scored}, key=_condition_order)
    classes = []
    for condition in conditions:
        rows = [row for row in scored if str(row.get("condition", "")) == condition]
        if len(rows) >= MIN_CLIPS:
            speakers = tuple(f"held-out {row.get('speaker_id', '')}" for row in rows)
            source = f"held-out human speech scored when the detector was trained, condition {condition or 'unstated'}"
            values = np.array([float(row["llr"]) for row in rows])
            classes.append(_Class(f"held_out_{condition}".rstrip("_"), values, speakers, source))
    return classes


def _condition_order(condition: str) -> tuple[int, str]:
    for place, known in enumerate(HELD_OUT_CONDITIONS):
        if known in condition:
            return place, condition
    return len(HELD_OUT_CONDITIONS), condition


def _add_pair(
    found: DetectionSummary,
    key: Mapping[str, str],
    detector: str,
    suffix: str,
    bona_fide: _Class,
    synthetic: _Class,
    block: pd.DataFrame,
    resampler: Resampler,
) -> None:
    statistics = (
        (f"eer{suffix}", error_rates.eer, (0.0, 1.0)),
        (f"cllr{suffix}", error_rates.cllr, (0.0, None)),
    )
    eer = None
    for measure, statistic, bounds in statistics:
        interval = _interval(bona_fide, synthetic, statistic, bounds, resampler)
        eer = eer or interval
        found.rows.append(
            summary_row(
                key,
                measure=measure,
                interval=interval,
                confidence=resampler.confidence,
                n_items=len(synthetic.llr),
                n_speakers=len(set(synthetic.speakers)),
                n_skipped=len(rows_where(block, status="skipped")),
                n_failed=len(rows_where(block, status="failed")),
            )
        )
        entry = _measure_entry(key["scorer"], detector, measure, bona_fide)
        if entry not in found.measures:
            found.measures.append(entry)
    if eer is not None:
        found.curves.append(_curve(detector, bona_fide, synthetic, eer))


def _interval(
    bona_fide: _Class,
    synthetic: _Class,
    statistic: Callable[[np.ndarray, np.ndarray], float],
    bounds: tuple[float | None, float | None],
    resampler: Resampler,
) -> Interval:
    """Speakers are drawn once for both classes, so that a speaker found in both stays paired."""
    speakers = sorted({*bona_fide.speakers, *synthetic.speakers})
    position = {speaker: index for index, speaker in enumerate(speakers)}
    bona_index = np.array([position[speaker] for speaker in bona_fide.speakers])
    synthetic_index = np.array([position[speaker] for speaker in synthetic.speakers])

    def of_weights(weights: np.ndarray) -> float:
        bona = np.repeat(bona_fide.llr, weights[bona_index].astype(np.int64))
        made = np.repeat(synthetic.llr, weights[synthetic_index].astype(np.int64))
        return statistic(bona, made) if len(bona) and len(made) else math.nan

    smaller = min(len(set(bona_fide.speakers)), len(set(synthetic.speakers)))
    return resampler.statistic(speakers, smaller, of_weights, bounds)


def _curve(detector: str, bona_fide: _Class, synthetic: _Class, eer: Interval) -> dict[str, Any]:
    p_false_alarm, p_miss = error_rates.det_curve(bona_fide.llr, synthetic.llr)
    keep = np.unique(np.linspace(0, len(p_miss) - 1, min(len(p_miss), MAX_CURVE_POINTS)).round().astype(int))
    return {
        "detector": detector,
        "bona_fide": bona_fide.name,
        "synthetic": synthetic.name,
        "p_false_alarm": [float(value) for value in p_false_alarm[keep]],
        "p_miss": [float(value) for value in p_miss[keep]],
        "eer": eer.estimate,
        "ci_low": _json_number(eer.low),
        "ci_high": _json_number(eer.high),
        "n_bona_fide": len(bona_fide.llr),
        "n_synthetic": len(synthetic.llr),
        "bona_fide_source": bona_fide.source,
    }


def _json_number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _measure_entry(scorer: str, detector: str, measure: str, bona_fide: _Class) -> dict[str, Any]:
    eer = measure.startswith("eer")
    return {
        "scorer": scorer,
        "scorer_title": f"Detector {detector}",
        "measure": measure,
        "title": ("Equal error rate" if eer else "Cllr") + f" against {bona_fide.source}",
        "unit": "share" if eer else "bits",
        "direction": "none",
        "meaning": (
            "share of both kinds of error where they are equal; 0 separates perfectly, 0.5 is chance"
            if eer
            else "cost of the likelihood ratios as evidence; 0 is perfect, 1 says as much as no detector"
        ),
        "source": "Brummer 2010" if eer else "Brummer and du Preez 2006",
        "low": 0.0,
        "high": 1.0 if eer else None,
        "aggregate": "detection",
        "numerator": "",
        "denominator": "",
        "protocol": {"bona_fide": bona_fide.source},
    }
