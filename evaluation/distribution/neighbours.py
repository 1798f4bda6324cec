"""Does one set cover another? Precision, density and coverage by nearest neighbours (Naeem et al. 2020)."""

from __future__ import annotations

import numpy as np

__all__ = ["coverage", "precision"]


def precision(reference: np.ndarray, judged: np.ndarray, k: int = 5) -> np.ndarray:
    """Whether each judged item lies within some reference item's ball to its k-th neighbour: float64 ``[item]``."""
    radii = _radii(reference, k)
    inside = _distances(judged, reference) <= radii[None] * (1 + 1e-12)
    return np.asarray(inside.any(axis=1), dtype=np.float64)


def coverage(reference: np.ndarray, judged: np.ndarray, k: int = 5) -> np.ndarray:
    """Whether each reference item's ball to its k-th reference neighbour holds a judged item: float64 ``[item]``."""
    radii = _radii(reference, k)
    return (_distances(reference, judged).min(axis=1) <= radii * (1 + 1e-12)).astype(np.float64)


def _radii(items: np.ndarray, k: int) -> np.ndarray:
    """Distance to the k-th nearest other item, ``[item]``.

    Raises:
        ValueError: not more than ``k`` items.
    """
    if len(items) <= k:
        raise ValueError(f"{len(items)} items; {k} neighbours need at least {k + 1}")
    return np.sort(_distances(items, items), axis=1)[:, k]


def _distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(np.square(first[:, None] - second[None]).sum(axis=2)))
