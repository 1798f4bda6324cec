"""Intervals of numbers that no resampling suits: leave one speaker out (Efron and Stein 1981)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from evaluation.bootstrap import Interval

__all__ = ["jackknife"]


def jackknife(
    estimate: float,
    speakers: Sequence[str],
    without: Callable[[str], float],
    *,
    low: float | None = None,
    confidence: float = 0.95,
) -> Interval:
    """The estimate with an interval from values ``without`` each speaker; Student's t on the number of speakers.

    Items drawn twice, as in a bootstrap, would make two sets look alike or unlike by themselves.
    """
    names = sorted(set(speakers))
    if len(names) < 2 or not math.isfinite(estimate):
        return Interval(estimate, math.nan, math.nan, "no interval: fewer than two speakers")
    values = np.array([without(name) for name in names])
    n = len(names)
    error = math.sqrt((n - 1) / n * float(np.square(values - values.mean()).sum()))
    reach = float(special.stdtrit(n - 1, 0.5 + confidence / 2)) * error
    lower = estimate - reach if low is None else max(low, estimate - reach)
    return Interval(estimate, lower, estimate + reach, f"jackknife over {n} speakers, Student's t")
