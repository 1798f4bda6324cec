"""Many comparisons in one report: p-values adjusted so that false alarms stay rare (Holm) or few (BH)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["METHODS", "adjust"]

METHODS = ("holm", "bh")


def adjust(p_values: Sequence[float] | np.ndarray, method: str = "holm") -> np.ndarray:
    """Adjusted p-values ``[test]``; those at most 0.05 are significant over the whole family.

    ``holm``: the chance of any false alarm stays below 5 % (Holm 1979). ``bh``: the expected share of false alarms
    among all alarms does, for independent or positively dependent tests (Benjamini and Hochberg 1995). NaN (no test
    was possible) stays NaN and does not count.

    Raises:
        ValueError: another method, or a value outside [0, 1].
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; use one of {', '.join(METHODS)}")
    values = np.asarray(p_values, dtype=np.float64)
    known = np.flatnonzero(np.isfinite(values))
    if np.any((values[known] < 0) | (values[known] > 1)):
        raise ValueError("a p-value lies outside 0 to 1; give probabilities")
    found = np.full(len(values), np.nan)
    order = known[np.argsort(values[known], kind="stable")]
    n = len(order)
    if not n:
        return found
    ranks = np.arange(1, n + 1)
    if method == "holm":
        found[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * (n - ranks + 1)))
    else:
        found[order] = np.minimum(1.0, np.minimum.accumulate((values[order] * n / ranks)[::-1])[::-1])
    return found
