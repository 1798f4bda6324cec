"""A detector at its shipped threshold: shares of clips it calls synthetic, and what an alarm is worth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.artefacts import MeasureInfo
from reports.context import Context
from reports.estimates import BAYES, SAME_VALUE, Estimate, ratio
from reports.frames import column, rows_where

__all__ = [
    "PREVALENCES",
    "curve_estimate",
    "flagged_frame",
    "flagged_share",
    "precision_at",
    "same_detector",
    "shipped_threshold",
]

PREVALENCES = (0.001, 0.01, 0.1)
"""Shares of synthetic clips among all that a user may meet; no census exists, so three magnitudes are shown."""

THRESHOLD_KEY = "threshold_llr"
FLAG_NAMES = ("flagged", "called_synthetic")


def shipped_threshold(context: Context, scorer: str) -> float | None:
    """The operating point that ``run.json`` records for a detector, in nats; None where it records none."""
    short = scorer.removeprefix("detector:")
    return _search(context.run.info, {scorer, short}, inside=False)


def _search(node: Any, names: set[str], inside: bool) -> float | None:
    """Depth first for the key, below a key or beside a name that is the detector's."""
    if isinstance(node, Mapping):
        here = inside or any(
            isinstance(node.get(key), str) and node[key] in names for key in ("name", "scorer", "detector")
        )
        value = node.get(THRESHOLD_KEY)
        if here and isinstance(value, (int, float, str)):
            try:
                return float(value)
            except ValueError:
                return None
        for key, child in node.items():
            found = _search(child, names, here or key in names)
            if found is not None:
                return found
    elif isinstance(node, list):
        for child in node:
            found = _search(child, names, inside)
            if found is not None:
                return found
    return None


def flagged_frame(context: Context, llr: MeasureInfo, role: str) -> pd.DataFrame | None:
    """Items of a role with numerator 1 where the detector calls them synthetic; None where that cannot be known.

    The detector's own verdict is used where the run stores it, else the ratio against the shipped threshold.
    """
    for measure in context.run.measures:
        if measure.scorer == llr.scorer and measure.measure in FLAG_NAMES:
            frame = context.items(measure, role)
            if len(frame):
                return frame
    threshold = shipped_threshold(context, llr.scorer)
    frame = context.items(llr, role)
    if threshold is None or not len(frame):
        return None
    return frame.assign(numerator=(frame["numerator"] < threshold).astype(float))


def flagged_share(context: Context, llr: MeasureInfo, role: str) -> Estimate | None:
    """Share of a role's clips that the detector calls synthetic at its shipped threshold."""
    frame = flagged_frame(context, llr, role)
    return None if frame is None or not len(frame) else ratio(frame)


def precision_at(prevalence: float, detected: Estimate, false_alarms: Estimate) -> Estimate:
    """Share of alarms that are right (Bayes' rule), where ``prevalence`` of all clips are synthetic.

    The interval is the box of the two intervals: the worst of one with the worst of the other, so it covers at
    least what the two cover together (90 % for two 95 % intervals, by Bonferroni).
    """

    def bayes(hit: float, alarm: float) -> float:
        total = prevalence * hit + (1.0 - prevalence) * alarm
        return prevalence * hit / total if total > 0 else float("nan")

    boxed = detected.has_interval and false_alarms.has_interval
    low = bayes(detected.ci_low, false_alarms.ci_high) if boxed else float("nan")
    high = bayes(detected.ci_high, false_alarms.ci_low) if boxed else float("nan")
    return Estimate(
        estimate=bayes(detected.estimate, false_alarms.estimate),
        ci_low=low,
        ci_high=high,
        no_interval=""
        if low == low and high == high
        else "no interval: one of the two shares has none or both are zero",
        n_items=detected.n_items + false_alarms.n_items,
        n_speakers=max(detected.n_speakers, false_alarms.n_speakers),
        method=f"{BAYES} on two shares, box of their intervals",
    )


def same_detector(curve_name: str, scorer: str) -> bool:
    """Whether a curve belongs to a scorer; curves may leave out the prefix."""
    return curve_name.removeprefix("detector:") == scorer.removeprefix("detector:")


def _no_curve_interval(low: float, high: float) -> str:
    return SAME_VALUE if low == high else "no interval: the run stores none for this curve"


def curve_estimate(context: Context, curve: Mapping[str, Any]) -> Estimate | None:
    """The equal error rate of a curve; None where it has none."""
    if curve["eer"] is None:
        return None
    rows = rows_where(context.run.scores, context.run.scores["role"] == curve["synthetic"])
    low, high = (float("nan") if curve.get(key) is None else float(curve[key]) for key in ("ci_low", "ci_high"))
    missing = not low < high
    return Estimate(
        estimate=float(curve["eer"]),
        ci_low=float("nan") if missing else low,
        ci_high=float("nan") if missing else high,
        no_interval=_no_curve_interval(low, high) if missing else "",
        n_items=int(curve["n_bona_fide"]) + int(curve["n_synthetic"]),
        n_speakers=int(column(rows, "speaker_id").nunique()),
        method="equal error rate, interval over speakers",
    )
