"""Exact or drawn permutation tests whose units are speakers, since clips of one speaker are alike."""

from __future__ import annotations

import itertools
import math

import numpy as np

__all__ = ["DRAWS", "group_gap_p", "sign_flip_p", "smallest_sign_flip_p"]

DRAWS = 4999
EXACT_UP_TO = 12
"""With so many speakers or fewer every one of the 2^n sign patterns is looked at."""


def sign_flip_p(numerators: np.ndarray, generator: np.random.Generator) -> float:
    """Two-sided p of paired differences per speaker ``[speaker]``, sums of the items' own: which sign is chance?

    NaN with fewer than two speakers. The smallest p of ``n`` speakers is ``2 / 2^n``.
    """
    values = np.asarray(numerators, dtype=np.float64)
    values = values[np.isfinite(values)]
    if len(values) < 2:
        return math.nan
    observed = abs(float(values.sum())) - 1e-12
    if len(values) <= EXACT_UP_TO:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(values))))
        return float((np.abs(signs @ values) >= observed).mean())
    signs = generator.integers(0, 2, (DRAWS, len(values))) * 2.0 - 1.0
    return (1 + int((np.abs(signs @ values) >= observed).sum())) / (1 + DRAWS)


def smallest_sign_flip_p(n_speakers: int) -> float:
    """The smallest p that :func:`sign_flip_p` can give with so many speakers, whatever they differ by."""
    return 2.0 / 2.0**n_speakers if n_speakers <= EXACT_UP_TO else 1.0 / (1 + DRAWS)


def group_gap_p(
    numerators: np.ndarray, denominators: np.ndarray, inside: np.ndarray, generator: np.random.Generator
) -> float:
    """Two-sided p of a group's ratio against the rest's: labels are permuted among speakers.

    Sums per speaker ``[speaker]`` and whether each belongs to the group. NaN where a side has fewer than two speakers.
    """
    inside = np.asarray(inside, dtype=bool)
    if min(int(inside.sum()), int((~inside).sum())) < 2:
        return math.nan

    def gaps(labels: np.ndarray) -> np.ndarray:
        sides = [(labels @ numerators, labels @ denominators), ((1 - labels) @ numerators, (1 - labels) @ denominators)]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.abs(sides[0][0] / sides[0][1] - sides[1][0] / sides[1][1])

    observed = float(gaps(inside[None].astype(np.float64))[0]) - 1e-12
    if not math.isfinite(observed):
        return math.nan
    orders = np.argsort(generator.random((DRAWS, len(inside))), axis=1)
    drawn = gaps(inside[orders].astype(np.float64))
    return (1 + int((drawn >= observed).sum())) / (1 + DRAWS)
