"""Error rates of a detector from two score arrays: EER, DCF, Cllr, DET points.

Conventions. ``bona`` and ``synth`` are 1-d score arrays, higher = more likely bona fide; for the measures
that read a score as evidence (``act_dcf``, ``cllr``) it is a natural-log likelihood ratio in nats. A clip is
accepted as bona fide iff ``score >= threshold``. *Miss*: a bona fide clip is rejected. *False alarm*: a
synthetic clip is accepted. Rates are shares in [0, 1]. Scores may be infinite, never NaN; both arrays hold
at least one score (ValueError otherwise).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

__all__ = [
    "act_dcf",
    "bayes_threshold",
    "cllr",
    "det_curve",
    "eer",
    "eer_asvspoof",
    "eer_threshold",
    "error_rates_at",
    "min_cllr",
    "min_dcf",
    "softplus",
    "tied_share",
]

P_SYNTHETIC, COST_MISS, COST_FALSE_ALARM = 0.05, 1.0, 10.0
"""The operating point of ASVspoof 5, track 1 (evaluation plan, section on metrics)."""


def _scores(bona: ArrayLike, synth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays as float64 ``[clip]``; ValueError where one is empty, not 1-d, or holds NaN."""
    checked = []
    for name, values in (("bona fide", bona), ("synthetic", synth)):
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 1 or array.size == 0:
            raise ValueError(f"{name} scores have shape {array.shape}; give a list of at least one score")
        if np.isnan(array).any():
            raise ValueError(f"{name} scores hold {int(np.isnan(array).sum())} NaN; leave out clips without a score")
        checked.append(array)
    return checked[0], checked[1]


def softplus(x: ArrayLike) -> np.ndarray:
    """``ln(1 + e^x)`` without overflow, in nats."""
    return np.logaddexp(0.0, np.asarray(x, dtype=np.float64))


def det_curve(bona: ArrayLike, synth: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """``(p_false_alarm, p_miss)`` at every distinct score as threshold, rising, then at +infinity.

    First point (1, 0): everything accepted; last (0, 1): everything rejected. Tied scores move together.
    """
    real, fake = _scores(bona, synth)
    thresholds = np.unique(np.concatenate([real, fake]))
    p_miss = np.searchsorted(np.sort(real), thresholds, side="left") / real.size
    p_false_alarm = 1.0 - np.searchsorted(np.sort(fake), thresholds, side="left") / fake.size
    return np.append(p_false_alarm, 0.0), np.append(p_miss, 1.0)


def _lower_hull(p_false_alarm: np.ndarray, p_miss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lower-left convex hull of a detection curve, from (0, 1) to (1, 0), false alarms rising."""
    hull: list[tuple[float, float]] = []
    for x, y in zip(p_false_alarm[::-1], p_miss[::-1], strict=True):
        while len(hull) >= 2:
            (x0, y0), (x1, y1) = hull[-2], hull[-1]
            if (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) > 0:
                break
            hull.pop()
        if hull and hull[-1][0] == x and hull[-1][1] <= y:
            continue
        hull.append((float(x), float(y)))
    points = np.asarray(hull)
    return points[:, 0], points[:, 1]


def _diagonal_crossing(p_false_alarm: np.ndarray, p_miss: np.ndarray) -> float:
    """Where the poly-line meets ``p_miss = p_false_alarm``; false alarms do not fall along the arrays."""
    gap = p_miss - p_false_alarm
    after = int(np.argmax(gap <= 0))
    before = after - 1
    share = gap[before] / (gap[before] - gap[after])
    return float(p_miss[before] + share * (p_miss[after] - p_miss[before]))


def eer(bona: ArrayLike, synth: ArrayLike, *, variant: str = "interpolated") -> float:
    """Equal error rate, a share in [0, 1].

    ``interpolated``: the detection curve over distinct thresholds, joined by straight lines, crosses the
    diagonal. ``rocch``: the same crossing on its convex hull; never above the other, and equal to the largest
    Bayes error any prior can cause (Brummer, 2010). Both are 0.5 for constant scores and do not change
    under strictly increasing maps.
    """
    p_false_alarm, p_miss = det_curve(bona, synth)
    if variant == "rocch":
        return _diagonal_crossing(*_lower_hull(p_false_alarm, p_miss))
    if variant == "interpolated":
        return _diagonal_crossing(p_false_alarm[::-1], p_miss[::-1])
    raise ValueError(f"EER variant is {variant!r}; use 'interpolated', 'rocch', or call eer_asvspoof")


def eer_threshold(bona: ArrayLike, synth: ArrayLike) -> float:
    """The score where miss and false-alarm rate are closest (the lowest of several), for carrying over."""
    real, fake = _scores(bona, synth)
    p_false_alarm, p_miss = det_curve(real, fake)
    thresholds = np.append(np.unique(np.concatenate([real, fake])), np.inf)
    return float(thresholds[int(np.argmin(np.abs(p_miss - p_false_alarm)))])


def eer_asvspoof(bona: ArrayLike, synth: ArrayLike) -> float:
    """The step EER of the ASVspoof challenges, kept with its treatment of ties, for comparison with their tables.

    Trials are taken one by one in stable order, bona fide first, so that ties count against the detector:
    constant scores give 1.0 where :func:`eer` gives 0.5. See :func:`tied_share` before quoting it.
    """
    real, fake = _scores(bona, synth)
    order = np.argsort(np.concatenate([real, fake]), kind="stable")
    is_bona = np.concatenate([np.ones(real.size), np.zeros(fake.size)])[order]
    p_miss = np.append(0.0, np.cumsum(is_bona) / real.size)
    p_false_alarm = np.append(1.0, 1.0 - np.cumsum(1.0 - is_bona) / fake.size)
    step = int(np.argmin(np.abs(p_miss - p_false_alarm)))
    return float((p_miss[step] + p_false_alarm[step]) / 2)


def tied_share(bona: ArrayLike, synth: ArrayLike) -> float:
    """Share of scores that are not unique; above 0.01 the step EER of ASVspoof is not to be trusted."""
    _, counts = np.unique(np.concatenate(_scores(bona, synth)), return_counts=True)
    return float(counts[counts > 1].sum() / counts.sum())


def error_rates_at(bona: ArrayLike, synth: ArrayLike, threshold: float) -> tuple[float, float]:
    """``(p_false_alarm, p_miss)`` at one threshold."""
    real, fake = _scores(bona, synth)
    return float(np.mean(fake >= threshold)), float(np.mean(real < threshold))


def bayes_threshold(
    p_synthetic: float = P_SYNTHETIC, cost_miss: float = COST_MISS, cost_false_alarm: float = COST_FALSE_ALARM
) -> float:
    """The log-likelihood ratio in nats above which accepting costs less on average (ASVspoof 5: -0.6419)."""
    if not 0.0 < p_synthetic < 1.0 or cost_miss <= 0.0 or cost_false_alarm <= 0.0:
        raise ValueError(
            f"prior {p_synthetic} and costs {cost_miss}, {cost_false_alarm}: the prior lies in (0, 1), costs above 0"
        )
    return -math.log(cost_miss * (1.0 - p_synthetic) / (cost_false_alarm * p_synthetic))


def _normalised_cost(
    p_false_alarm: np.ndarray | float, p_miss: np.ndarray | float, p_synthetic: float, cost_miss: float, cost_fa: float
) -> np.ndarray:
    weight_miss, weight_fa = cost_miss * (1.0 - p_synthetic), cost_fa * p_synthetic
    return (weight_miss * np.asarray(p_miss) + weight_fa * np.asarray(p_false_alarm)) / min(weight_miss, weight_fa)


def min_dcf(
    bona: ArrayLike,
    synth: ArrayLike,
    *,
    p_synthetic: float = P_SYNTHETIC,
    cost_miss: float = COST_MISS,
    cost_false_alarm: float = COST_FALSE_ALARM,
) -> float:
    """Least detection cost any threshold reaches; 1 is the better of the two constant decisions."""
    bayes_threshold(p_synthetic, cost_miss, cost_false_alarm)
    costs = _normalised_cost(*det_curve(bona, synth), p_synthetic, cost_miss, cost_false_alarm)
    return float(costs.min())


def act_dcf(
    bona: ArrayLike,
    synth: ArrayLike,
    *,
    p_synthetic: float = P_SYNTHETIC,
    cost_miss: float = COST_MISS,
    cost_false_alarm: float = COST_FALSE_ALARM,
) -> float:
    """Detection cost at the Bayes threshold, the scores taken as log-likelihood ratios; at least ``min_dcf``."""
    rates = error_rates_at(bona, synth, bayes_threshold(p_synthetic, cost_miss, cost_false_alarm))
    return float(_normalised_cost(*rates, p_synthetic, cost_miss, cost_false_alarm))


def cllr(bona: ArrayLike, synth: ArrayLike) -> float:
    """Cost of log-likelihood ratios in bits (Brummer and du Preez, 2006): 0 perfect, 1 for "0 nats always"."""
    real, fake = _scores(bona, synth)
    return float((softplus(-real).mean() + softplus(fake).mean()) / (2.0 * math.log(2.0)))


def min_cllr(bona: ArrayLike, synth: ArrayLike) -> float:
    """Cllr in bits after the best monotone recalibration (pool adjacent violators), 0 to 1.

    Each side of the detection curve's convex hull is one pooled block: it holds ``d_miss`` of the bona fide
    and ``d_fa`` of the synthetic scores, and its log-likelihood ratio is ``ln(d_miss / d_fa)``.
    """
    p_false_alarm, p_miss = _lower_hull(*det_curve(bona, synth))
    d_fa, d_miss = np.diff(p_false_alarm), -np.diff(p_miss)
    mixed = (d_fa > 0) & (d_miss > 0)
    d_fa, d_miss = d_fa[mixed], d_miss[mixed]
    return float(0.5 * (d_miss * np.log2(1 + d_fa / d_miss) + d_fa * np.log2(1 + d_miss / d_fa)).sum())
