"""How many speakers a difference takes, and what difference so many speakers can show (Bloom 1995; Lachin 1981).

A two-sided test at 5 % with 80 % power finds an effect of ``(t(0.975) + t(0.8)) * sd / sqrt(n)``, where ``sd`` is the
standard deviation between speakers of a speaker's own value. More utterances per speaker lower only that part of it
which is within speakers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

__all__ = ["POWER", "Spread", "minimum_detectable", "power_factor", "speakers_needed", "spread_of"]

POWER, LEVEL = 0.8, 0.05
MOST_SPEAKERS = 1_000_000


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of one measure: ``between`` speakers, ``within`` one speaker from utterance to utterance."""

    between: float
    within: float

    def of_speaker_mean(self, utterances: int) -> float:
        return math.sqrt(self.between**2 + self.within**2 / utterances)


def power_factor(n_speakers: int) -> float:
    """Standard errors that the smallest detectable effect is away from none."""
    degrees = max(1, n_speakers - 1)
    return float(special.stdtrit(degrees, 1 - LEVEL / 2) + special.stdtrit(degrees, POWER))


def speakers_needed(spread: Spread, effect: float, utterances: int) -> int:
    """Fewest speakers, with so many utterances each, that show ``effect``.

    Raises:
        ValueError: an effect or a number that is not above 0, or more than a million speakers.
    """
    if not (effect > 0 and math.isfinite(effect)) or utterances < 1:
        raise ValueError(f"effect is {effect} with {utterances} utterances per speaker; both must be above 0")
    sd = spread.of_speaker_mean(utterances)
    low, high = 2, MOST_SPEAKERS
    if power_factor(high) * sd / math.sqrt(high) > effect:
        raise ValueError(f"an effect of {effect:g} takes more than {MOST_SPEAKERS} speakers; look for a larger one")
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power_factor(middle) * sd / math.sqrt(middle) <= effect else (middle + 1, high)
    return low


def minimum_detectable(above: np.ndarray, below: np.ndarray) -> float:
    """Smallest effect that these speakers show with 80 % power; NaN with fewer than two.

    ``above`` and ``below``: sums per speaker ``[speaker]`` of a ratio's parts (for a mean ``below`` counts items).
    """
    used = below > 0
    n = int(used.sum())
    if n < 2:
        return math.nan
    ratio = float(above[used].sum() / below[used].sum())
    residuals = (above[used] - ratio * below[used]) / float(below[used].mean())
    error = float(np.sqrt(np.square(residuals).sum() / (n - 1) / n))
    return power_factor(n) * error


def spread_of(values: np.ndarray, weights: np.ndarray, speakers: np.ndarray) -> Spread:
    """Both standard deviations from items: ``values`` and ``weights`` ``[item]``, one-way analysis of variance.

    A value is the item's own ratio, its weight that ratio's denominator. Speakers with one utterance tell nothing about
    ``within``.

    Raises:
        ValueError: fewer than two speakers.
    """
    names = sorted(set(speakers.tolist()))
    if len(names) < 2:
        raise ValueError("fewer than two speakers show no spread between speakers; name a run with more")
    means, squares, counts = [], 0.0, []
    for name in names:
        own = speakers == name
        mean = float(np.average(values[own], weights=weights[own]))
        means.append(mean)
        counts.append(int(own.sum()))
        squares += float(np.square(values[own] - mean).sum())
    left = int(sum(counts) - len(names))
    within = squares / left if left > 0 else 0.0
    typical = len(names) / float(np.sum(1.0 / np.array(counts)))
    between = max(0.0, float(np.var(means, ddof=1)) - within / typical)
    return Spread(math.sqrt(between), math.sqrt(within))
