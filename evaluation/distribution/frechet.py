"""Frechet distance between two sets of vectors, seen as two Gaussians, and what it would be with endless data.

Source: Heusel et al. 2017 (equation 6); Kilgour et al. 2019 for audio; the extrapolation in 1/n after Chong and Forsyth
2020. The product's root is taken in its symmetric form, so the distance is never negative or complex. The distance of
finite sets is too large by an amount that shrinks with 1/n: two sets are compared at one n only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Extrapolation", "extrapolate", "frechet_distance"]

SIZES = 8
DRAWS = 10
SMALLEST_SHARE = 0.4
"""Sets from this share of all items upwards carry the extrapolation."""


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """``at_size``: mean distance of sets of ``size`` items; ``infinite``: intercept of the line in 1/n; ``r2``: how
    well the line fits, in [0, 1]."""

    size: int
    at_size: float
    infinite: float
    r2: float


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """``|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))`` of ``[item, dimension]`` sets; at least 0.

    Raises:
        ValueError: fewer than two items on a side, or different dimensions.
    """
    if min(len(first), len(second)) < 2 or first.shape[1] != second.shape[1]:
        raise ValueError(f"sets of shape {first.shape} and {second.shape}; give two items each, of one dimension")
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    means = first.mean(axis=0) - second.mean(axis=0)
    one, two = np.cov(first, rowvar=False, ddof=1), np.cov(second, rowvar=False, ddof=1)
    one, two = np.atleast_2d(one), np.atleast_2d(two)
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    inner = np.linalg.eigvalsh(root @ two @ root)
    trace = float(np.trace(one) + np.trace(two)) - 2.0 * float(np.sqrt(np.maximum(inner, 0.0)).sum())
    return max(0.0, float(means @ means) + trace)


def extrapolate(first: np.ndarray, second: np.ndarray, generator: np.random.Generator) -> Extrapolation:
    """Distances of random subsets of equal size, and their line in 1/n down to endless data.

    Raises:
        ValueError: fewer than eight items on a side.
    """
    largest = min(len(first), len(second))
    if largest < SIZES:
        raise ValueError(f"sets of {len(first)} and {len(second)} items; the extrapolation needs {SIZES} each")
    inverse = np.linspace(1.0 / largest, 1.0 / max(3, math.floor(SMALLEST_SHARE * largest)), SIZES)
    sizes = np.unique(np.round(1.0 / inverse).astype(int))[::-1]
    means = np.array([_mean_distance(first, second, int(size), generator) for size in sizes])
    design = np.stack([np.ones(len(sizes)), 1.0 / sizes], axis=1)
    line, *_ = np.linalg.lstsq(design, means, rcond=None)
    spread = float(np.square(means - means.mean()).sum())
    left = float(np.square(means - design @ line).sum())
    return Extrapolation(int(sizes[0]), float(means[0]), float(line[0]), 1.0 - left / spread if spread > 0 else 1.0)


def _mean_distance(first: np.ndarray, second: np.ndarray, size: int, generator: np.random.Generator) -> float:
    found = []
    for _ in range(DRAWS):
        one = first[generator.choice(len(first), size, replace=False)]
        two = second[generator.choice(len(second), size, replace=False)]
        found.append(frechet_distance(one, two))
    return float(np.mean(found))
