"""Intervals that respect that clips of one speaker are alike: speakers are resampled, not clips.

One plan of replicates per set of speakers serves every measure and role, so differences between them are paired (Bisani
and Ney 2004; Liu and Peng 2019, arXiv 1912.09508). The percentile interval is too short with few clusters
(Hesterberg 2015, section 5.3); its arms are stretched by ``t(n - 1) / z * sqrt(n / (n - 1))``.

A plan takes 8 kB per speaker. With more than 10,000 speakers a ratio's interval is the one that replicates tend to, in
closed form, and other statistics draw their replicates one after the other.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import special

__all__ = ["Interval", "Resampler"]

REPLICATES = 1000
CONFIDENCE = 0.95
MIN_SPEAKERS = 2
SHARE = (0.0, 1.0)
MOST_PLANNED = 10_000
"""Speakers up to which the replicates of a plan are kept; all kept plans together have at most twice as many."""
MIN_USABLE_SHARE = 0.5
"""Where more replicates than this hold no denominator, there is no interval."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its bounds, NaN where there are none; ``method`` says how, or why not."""

    estimate: float
    low: float
    high: float
    method: str


@dataclass(slots=True, kw_only=True)
class Resampler:
    """Draws speakers; the plan depends on the seed and the speakers' names only, never on the measure."""

    seed: int
    replicates: int = REPLICATES
    confidence: float = CONFIDENCE
    _plans: dict[tuple[str, ...], np.ndarray] = field(default_factory=dict)

    def plan(self, speakers: Sequence[str]) -> np.ndarray:
        """How often each speaker is drawn, float64 ``[replicate, speaker]``; a row sums to the number of speakers."""
        key = tuple(speakers)
        if key not in self._plans:
            while self._plans and len(key) + sum(map(len, self._plans)) > 2 * MOST_PLANNED:
                del self._plans[next(iter(self._plans))]
            plan = np.empty((self.replicates, len(key)))
            for row, draws in zip(plan, self._draws(key), strict=True):
                row[:] = draws
            self._plans[key] = plan
        return self._plans[key]

    def _draws(self, speakers: Sequence[str]) -> Iterator[np.ndarray]:
        """The rows of the plan, one at a time."""
        text = "\0".join((str(self.seed), *speakers))
        entropy = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
        generator, shares = np.random.default_rng(entropy), np.full(len(speakers), 1.0 / len(speakers))
        for _ in range(self.replicates):
            yield generator.multinomial(len(speakers), shares).astype(np.float64)

    def ratio(
        self,
        speakers: Sequence[str],
        numerators: np.ndarray,
        denominators: np.ndarray,
        bounds: tuple[float | None, float | None] = (None, None),
    ) -> Interval:
        """Sum of numerators by sum of denominators, both ``[speaker]`` totals in the order of ``speakers``.

        A mean is the ratio of a sum of values by a count. Speakers with denominator 0 have no part in the measure.
        """
        total = float(np.sum(denominators))
        estimate = float(np.sum(numerators)) / total if total else math.nan
        n_speakers = int(np.count_nonzero(denominators))
        if n_speakers < MIN_SPEAKERS:
            return Interval(estimate, math.nan, math.nan, _no_interval(n_speakers, speakers))
        if len(speakers) > MOST_PLANNED:
            errors = (numerators - estimate * denominators) / total
            return self._limit(estimate, float(np.sqrt(errors @ errors)), n_speakers, bounds)
        weights = self.plan(speakers)
        below = weights @ denominators
        with np.errstate(invalid="ignore", divide="ignore"):
            replicates = np.where(below > 0, (weights @ numerators) / below, math.nan)
        return self.interval(estimate, replicates, n_speakers, bounds)

    def statistic(
        self,
        speakers: Sequence[str],
        n_speakers: int,
        of_weights: Callable[[np.ndarray], float],
        bounds: tuple[float | None, float | None] = (None, None),
    ) -> Interval:
        """Any statistic given as a function of draws per speaker ``[speaker]``; NaN where a draw has none.

        ``n_speakers`` is the number of clusters that counts, e.g. of the smaller of two classes.
        """
        estimate = of_weights(np.ones(len(speakers)))
        if n_speakers < MIN_SPEAKERS:
            return Interval(estimate, math.nan, math.nan, _no_interval(n_speakers, speakers))
        rows = self.plan(speakers) if len(speakers) <= MOST_PLANNED else self._draws(speakers)
        replicates = np.array([of_weights(row) for row in rows])
        return self.interval(estimate, replicates, n_speakers, bounds)

    def interval(
        self,
        estimate: float,
        replicates: np.ndarray,
        n_speakers: int,
        bounds: tuple[float | None, float | None] = (None, None),
    ) -> Interval:
        """The stretched percentile interval of replicates ``[replicate]``, kept inside a measure's own bounds."""
        usable = replicates[np.isfinite(replicates)]
        if not math.isfinite(estimate) or len(usable) < MIN_USABLE_SHARE * self.replicates:
            return Interval(estimate, math.nan, math.nan, "no interval: too few replicates hold a value")
        tail = (1.0 - self.confidence) / 2.0
        if bounds == SHARE and estimate in SHARE and np.all(usable == estimate):
            return _unanimous(estimate, n_speakers, tail)
        low, high = (float(value) for value in np.quantile(usable, [tail, 1.0 - tail]))
        method = f"speaker bootstrap, {self.replicates} replicates, percentile stretched for {n_speakers} speakers"
        return _stretched(Interval(estimate, low, high, method), tail, n_speakers, bounds)

    def _limit(
        self, estimate: float, spread: float, n_speakers: int, bounds: tuple[float | None, float | None]
    ) -> Interval:
        """What :meth:`interval` tends to with many speakers: replicates of a ratio are normal, and ``spread`` wide."""
        tail = (1.0 - self.confidence) / 2.0
        if bounds == SHARE and estimate in SHARE and spread == 0.0:
            return _unanimous(estimate, n_speakers, tail)
        reach = float(special.ndtri(1.0 - tail)) * spread
        method = f"limit of the speaker bootstrap, {n_speakers} speakers"
        return _stretched(Interval(estimate, estimate - reach, estimate + reach, method), tail, n_speakers, bounds)


def _stretched(found: Interval, tail: float, n_speakers: int, bounds: tuple[float | None, float | None]) -> Interval:
    """The arms of a percentile interval lengthened for few speakers, and kept inside the measure's own bounds."""
    student, normal = special.stdtrit(n_speakers - 1, 1.0 - tail), special.ndtri(1.0 - tail)
    stretch = float(student / normal) * math.sqrt(n_speakers / (n_speakers - 1))
    low = found.estimate - stretch * max(found.estimate - found.low, 0.0)
    high = found.estimate + stretch * max(found.high - found.estimate, 0.0)
    if bounds[0] is not None:
        low = max(low, bounds[0])
    if bounds[1] is not None:
        high = min(high, bounds[1])
    return Interval(found.estimate, low, high, found.method)


def _unanimous(estimate: float, n_speakers: int, tail: float) -> Interval:
    """Replicates of clips that all agree say nothing; four speakers without an error leave up to 60 % open.

    Clopper and Pearson 1934, with each speaker as one trial since clips of a speaker are alike.
    """
    reach = 1.0 - tail ** (1.0 / n_speakers)
    low, high = (0.0, reach) if estimate == 0.0 else (1.0 - reach, 1.0)
    return Interval(estimate, low, high, f"exact binomial bound on {n_speakers} speakers, since all clips agree")


def _no_interval(n_speakers: int, speakers: Sequence[str]) -> str:
    if not n_speakers:
        return "no value"
    return "no interval: fewer than two speakers" + (" (unknown speakers count as one)" if "" in speakers else "")
