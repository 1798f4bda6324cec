"""One weighted sum that tells recordings from generated speech, in closed form: regularised least squares.

Every generator counts by a power of its windows, so that none is the synthetic class by itself, and nothing bends
around a single one. Recordings through our own codec are in neither class: they lie between the two, and a sum that had
to call them genuine would call much generated speech so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from detectors.kinds import BONA_FIDE_KINDS, KINDS

__all__ = ["fit_sum"]

POWER = 0.75
"""Of a generator's windows, what it counts for."""
RIDGE = 0.005
"""Added to the variance of each term, of about one."""
BLOCK = 4096
RECORDING = KINDS.index("recording")


def fit_sum(
    terms: Callable[[Tensor], Tensor], features: Tensor, kinds: np.ndarray, generators: Sequence[str] | np.ndarray
) -> tuple[Tensor, Tensor]:
    """Weights ``[term]`` and offset ``[]`` of a sum near +1/2 for recordings, near -1/2 for generated speech.

    Args:
        terms: features ``[window, number]`` to terms ``[window, term]``.
        features: ``[window, number]``.
        kinds: index into ``KINDS`` per window.
        generators: name per window; looked at where the kind is a synthetic one.

    Raises:
        ValueError: no recordings, or nothing generated.
    """
    names = np.where(kinds >= BONA_FIDE_KINDS, np.asarray(generators), "")
    synthetic, counts = np.unique(names[names != ""], return_counts=True)
    recordings = np.flatnonzero(kinds == RECORDING)
    if not recordings.size or not synthetic.size:
        raise ValueError("a sum is fitted to recordings and generated speech; one of them has no windows")
    shares = counts**POWER / np.sum(counts**POWER)
    moment, mean = _moments(terms, features, recordings)
    moment, difference = moment / 2, mean.clone() / 2
    for name, share in zip(synthetic, shares, strict=True):
        second, first = _moments(terms, features, np.flatnonzero(names == name))
        moment += second * (float(share) / 2)
        difference -= first * (float(share) / 2)
    moment.diagonal()[:-1] += RIDGE
    weights = torch.linalg.solve(moment.double(), difference.double() / 2)
    return weights[:-1].float(), weights[-1].float()


def _moments(terms: Callable[[Tensor], Tensor], features: Tensor, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Mean product of any two terms, a 1 behind them, ``[term + 1, term + 1]``; and its last row, the means."""
    size = terms(features[:1].float()).shape[1] + 1
    total = torch.zeros(size, size)
    for start in range(0, rows.size, BLOCK):
        block = terms(features[torch.from_numpy(rows[start : start + BLOCK])].float())
        block = torch.cat([block, torch.ones(len(block), 1)], dim=1)
        total += block.T @ block
    mean = total / rows.size
    return mean, mean[-1]
