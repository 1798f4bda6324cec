"""Numbers with their uncertainty: rows of the summary table, and the contrasts a verdict needs.

The summary table holds one estimate per role. A verdict also needs differences (generated minus
reference) on the same utterances, which cannot be had from two separate intervals; they are formed here
from item scores, resampling speakers (Liu & Peng, arXiv 1912.09508) with one fixed seed. A percentile interval is too
short with few clusters (Hesterberg 2015, section 5.3), so its arms are stretched by
``t(n - 1) / z * sqrt(n / (n - 1))``. Where all clips
agree it has no width at all: a share gets an exact bound, anything else says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from reports.artefacts import MeasureInfo, Run
from reports.frames import columns, rows_where

__all__ = [
    "POWER", "Estimate", "contrast", "from_summary", "group_contrast", "item_ratios", "minimum_detectable", "paired",
    "power_factor", "ratio", "signed_ratios", "unanimous",
]  # fmt: skip

REPLICATES = 2000
CONFIDENCE = 0.95
POWER = 0.8
SEED = 20_260_101
"""Fixed, so that the same run folder gives the same bytes."""

NAN = float("nan")
EXACT, BAYES = "exact binomial bound", "Bayes' rule"
SAME_VALUE = "no interval: all speakers give the same value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One number. ``ci_low``/``ci_high`` are NaN where there is no interval and ``no_interval`` says why."""

    estimate: float
    ci_low: float = NAN
    ci_high: float = NAN
    no_interval: str = ""
    n_items: int = 0
    n_speakers: int = 0
    n_skipped: int = 0
    n_failed: int = 0
    method: str = ""

    @property
    def has_interval(self) -> bool:
        return self.ci_low == self.ci_low and self.ci_high == self.ci_high

    @property
    def known(self) -> bool:
        return self.estimate == self.estimate

    def times(self, factor: float) -> Estimate:
        """The same quantity in another unit; ``factor`` is positive."""
        return replace(
            self, estimate=self.estimate * factor, ci_low=self.ci_low * factor, ci_high=self.ci_high * factor
        )


def power_factor(n_speakers: int) -> float:
    """How many standard errors a true effect must measure to be found with probability ``POWER``; NaN below two."""
    if n_speakers < 2:
        return NAN
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, n_speakers - 1) + stats.t.ppf(POWER, n_speakers - 1))


def minimum_detectable(found: Estimate) -> float:
    """Smallest true difference from a fixed value that so many speakers show in 80 of 100 audits; NaN if unknown.

    From the interval's mean half width as ``t(n - 1)`` standard errors (Bloom 1995, minimum detectable effects). Where
    all clips agree: the share of which one speaker among so many shows a case in 80 of 100 audits.
    """
    if not found.has_interval or found.n_speakers < 2 or found.method.startswith(BAYES):
        return NAN
    if found.method.startswith(EXACT):
        reach = min(1.0, max(found.ci_high - found.estimate, found.estimate - found.ci_low))
        return 1.0 - (1.0 - reach) ** (np.log(1.0 - POWER) / np.log((1.0 - CONFIDENCE) / 2.0))
    t_value = float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, found.n_speakers - 1))
    return (found.ci_high - found.ci_low) / 2.0 / t_value * power_factor(found.n_speakers)


def few_speakers(n_speakers: int) -> str:
    """Why there is no interval, or nothing."""
    if n_speakers >= 2:
        return ""
    return "no interval: fewer than two speakers" if n_speakers else "no interval: no speaker named"


def from_summary(row: pd.Series, measure: MeasureInfo | None = None) -> Estimate:
    """A row of ``summary.parquet`` as an estimate; a share on which all clips agree gets its exact bound."""
    values: dict[Any, Any] = row.to_dict()
    low, high = float(values["ci_low"]), float(values["ci_high"])
    missing = not low < high
    reason = (
        SAME_VALUE
        if low == high
        else few_speakers(_count(values["n_speakers"])) or "no interval: the summary table has none for this row"
    )
    found = Estimate(
        estimate=float(values["estimate"]),
        ci_low=NAN if missing else low,
        ci_high=NAN if missing else high,
        no_interval=reason if missing else "",
        n_items=_count(values["n_items"]),
        n_speakers=_count(values["n_speakers"]),
        n_skipped=_count(values["n_skipped"]),
        n_failed=_count(values["n_failed"]),
        method=str(values["method"]),
    )
    is_share = measure is not None and (measure.low, measure.high) == (0.0, 1.0)
    return unanimous(found) if is_share else found


def unanimous(found: Estimate) -> Estimate:
    """A share on which all clips agree (0 or 1) and without an interval, with an exact binomial bound.

    Clips of one speaker are alike, so the bound counts speakers (Clopper and Pearson 1934): four speakers without an
    error leave up to 60 % open, not 0 %.
    """
    if found.estimate not in (0.0, 1.0) or found.has_interval or found.n_speakers < 2:
        return found
    reach = 1.0 - ((1.0 - CONFIDENCE) / 2.0) ** (1.0 / found.n_speakers)
    low, high = (0.0, reach) if found.estimate == 0.0 else (1.0 - reach, 1.0)
    return replace(
        found,
        ci_low=low,
        ci_high=high,
        no_interval="",
        method=f"{EXACT} on speakers, since all clips agree",
    )


def _count(value: float) -> int:
    return int(value) if value == value else 0


def item_ratios(run: Run, measure: MeasureInfo, role: str, system: str = "") -> pd.DataFrame:
    """Items of one role as ``item_id, utterance_id, speaker_id, numerator, denominator``; only those with a value.

    A plain measure has denominator 1; a ratio of sums keeps its two counts.
    """

    def rows_of(name: str) -> pd.DataFrame:
        rows = run.score_rows(measure.scorer, name, role)
        ok = rows["status"] == "ok"
        return rows_where(rows, ok & (rows["system"] == system) if system else ok)

    keys = ["item_id", "utterance_id", "speaker_id"]
    if measure.aggregate != "ratio_of_sums":
        found = rows_of(measure.measure)
        return columns(found, keys).assign(numerator=found["value"], denominator=1.0).dropna().reset_index(drop=True)
    top = columns(rows_of(measure.numerator), [*keys, "value"])
    top = top.rename(columns={"value": "numerator"})
    bottom = columns(rows_of(measure.denominator), ["item_id", "value"])
    joined = top.merge(bottom.rename(columns={"value": "denominator"}), on="item_id", how="inner")
    return joined.dropna().reset_index(drop=True)


def ratio(frame: pd.DataFrame) -> Estimate:
    """Sum of ``numerator`` over sum of ``denominator`` with a percentile interval over speakers."""
    sums = _speaker_sums(frame, ["numerator", "denominator"])
    value = float(_divide(sums.sum(axis=0, keepdims=True))[0])
    draws = _draws(sums)
    found = _finish(value, [_divide(draws)] if draws is not None else [], len(frame), _speakers(frame))
    is_share = frame["numerator"].isin((0.0, 1.0)).all() and (frame["denominator"] == 1.0).all()
    if is_share and found.has_interval:
        return replace(found, ci_low=max(found.ci_low, 0.0), ci_high=min(found.ci_high, 1.0))
    return unanimous(found) if is_share else found


def paired(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """Two roles of the same utterances side by side: ``numerator_a, denominator_a, numerator_b, denominator_b``."""
    names = ["utterance_id", "numerator", "denominator"]
    joined = left.merge(columns(right, names), on="utterance_id", suffixes=("_a", "_b"), how="inner")
    return joined.reset_index(drop=True)


PAIR_COLUMNS = ["numerator_a", "denominator_a", "numerator_b", "denominator_b"]


def contrast(pairs: pd.DataFrame) -> Estimate:
    """Ratio of the first role minus ratio of the second on the same utterances, speakers resampled together."""
    value, draws = _difference(pairs)
    found = _finish(value, [draws] if draws is not None else [], len(pairs), _speakers(pairs))
    return found if found.has_interval else _unanimous_difference(found, _side(pairs, "a"), _side(pairs, "b"))


def signed_ratios(parts: Sequence[tuple[float, pd.DataFrame]]) -> Estimate:
    """A signed sum of ratios over the utterances that all parts share, speakers resampled together.

    ``parts``: sign and frame of :func:`item_ratios`; the speakers are those of the first. Two parts of opposite sign
    give a difference, four the change of a difference between two runs.
    """
    joined = columns(parts[0][1], ["utterance_id", "speaker_id"]).drop_duplicates("utterance_id")
    names = []
    for number, (_, frame) in enumerate(parts):
        own = [f"numerator_{number}", f"denominator_{number}"]
        sums = columns(frame, ["utterance_id", "numerator", "denominator"]).groupby("utterance_id", sort=False).sum()
        sums = pd.DataFrame(sums).rename(columns={"numerator": own[0], "denominator": own[1]})
        joined = joined.merge(sums, left_on="utterance_id", right_index=True, how="inner")
        names += own
    sums = _speaker_sums(joined, names)

    def value(totals: np.ndarray) -> np.ndarray:
        return sum((sign * _divide(totals[:, 2 * n : 2 * n + 2]) for n, (sign, _) in enumerate(parts)), np.zeros(1))

    draws = _draws(sums)
    replicates = [] if draws is None else [value(draws)]
    return _finish(float(value(sums.sum(axis=0, keepdims=True))[0]), replicates, len(joined), _speakers(joined))


def group_contrast(first: pd.DataFrame, second: pd.DataFrame) -> Estimate:
    """How much larger the contrast is in one group of speakers than in another (difference in differences)."""
    value_a, draws_a = _difference(first)
    value_b, draws_b = _difference(second, seed_step=1)
    replicates = [] if draws_a is None or draws_b is None else [draws_a - draws_b]
    found = _finish(
        value_a - value_b,
        replicates,
        len(first) + len(second),
        _speakers(first) + _speakers(second),
        "no interval: a group has fewer than two speakers",
    )
    plain = not (first["numerator_b"].any() or second["numerator_b"].any())
    return _unanimous_difference(found, _side(first, "a"), _side(second, "a")) if plain else found


def _side(pairs: pd.DataFrame, side: str) -> Estimate:
    """One side of pairs as a share with its exact bound, or without an interval where it is none."""
    tops, bottoms = pairs[f"numerator_{side}"], pairs[f"denominator_{side}"]
    agree = bool((bottoms == 1.0).all() and tops.nunique() == 1 and tops.iloc[0] in (0.0, 1.0))
    value = float(tops.iloc[0]) if agree else NAN
    return unanimous(Estimate(estimate=value, n_items=len(pairs), n_speakers=_speakers(pairs)))


def _unanimous_difference(found: Estimate, first: Estimate, second: Estimate) -> Estimate:
    """A difference of two shares on each of which all clips agree: from the exact bounds of both, so conservative."""
    if found.has_interval or not (first.has_interval and second.has_interval):
        return found
    return replace(
        found, ci_low=first.ci_low - second.ci_high, ci_high=first.ci_high - second.ci_low, no_interval="",
        method=f"{EXACT} on the speakers of either side, since all clips agree",
    )  # fmt: skip


def _difference(pairs: pd.DataFrame, seed_step: int = 0) -> tuple[float, np.ndarray | None]:
    sums = _speaker_sums(pairs, PAIR_COLUMNS)
    value = float(_divide(sums.sum(axis=0)[None, :2])[0] - _divide(sums.sum(axis=0)[None, 2:])[0])
    draws = _draws(sums, seed_step)
    return value, None if draws is None else _divide(draws[:, :2]) - _divide(draws[:, 2:])


def _speaker_sums(frame: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Totals per speaker, ``[speaker, column]``, speakers in order of their names."""
    speakers, position = np.unique(frame["speaker_id"].to_numpy(dtype=str), return_inverse=True)
    sums = np.zeros((len(speakers), len(names)))
    np.add.at(sums, position, columns(frame, names).to_numpy(dtype=np.float64))
    return sums


def _draws(sums: np.ndarray, seed_step: int = 0) -> np.ndarray | None:
    """Totals of ``REPLICATES`` resamples of the rows of ``sums [speaker, column]``; None below two speakers."""
    if len(sums) < 2:
        return None
    return _weights(len(sums), SEED + seed_step) @ sums


@lru_cache(maxsize=8)
def _weights(size: int, seed: int) -> np.ndarray:
    """How often each of ``size`` rows is drawn, ``[replicate, row]``."""
    picks = np.random.default_rng(seed).integers(0, size, size=(REPLICATES, size))
    cells = (picks + np.arange(REPLICATES)[:, None] * size).ravel()
    return np.bincount(cells, minlength=REPLICATES * size).reshape(REPLICATES, size).astype(np.float64)


def _divide(totals: np.ndarray) -> np.ndarray:
    bottom = np.where(totals[:, 1] > 0, totals[:, 1], np.nan)
    return totals[:, 0] / bottom


def _speakers(frame: pd.DataFrame) -> int:
    return int(frame["speaker_id"].nunique()) if len(frame) else 0


def _stretch(n_speakers: int) -> float:
    upper = 0.5 + CONFIDENCE / 2.0
    widened = float(stats.t.ppf(upper, n_speakers - 1) / stats.norm.ppf(upper))
    return widened * float(np.sqrt(n_speakers / (n_speakers - 1)))


def _finish(
    value: float, replicates: list[np.ndarray], n_items: int, n_speakers: int, no_interval: str = ""
) -> Estimate:
    usable = replicates[0][np.isfinite(replicates[0])] if replicates else np.empty(0)
    low = high = NAN
    if len(usable) > 0 and value == value:
        edge = 50.0 * (1.0 - CONFIDENCE)
        low, high = (float(bound) for bound in np.percentile(usable, [edge, 100.0 - edge]))
        stretch = _stretch(n_speakers)
        low, high = value - stretch * max(value - low, 0.0), value + stretch * max(high - value, 0.0)
    if low < high:
        no_interval = ""
    elif low == high:
        low = high = NAN
        no_interval = SAME_VALUE
    else:
        no_interval = few_speakers(n_speakers) or no_interval or "no interval: too few items with a value"
    return Estimate(
        estimate=value,
        ci_low=low,
        ci_high=high,
        no_interval=no_interval,
        n_items=n_items,
        n_speakers=n_speakers,
        method=f"speaker bootstrap, {REPLICATES} replicates, percentile stretched for {n_speakers} speakers",
    )
