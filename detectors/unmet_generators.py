"""Generators that nobody has shown, imitated among numbers: windows moved as generators differ from each other.

A detector that is trained on some generators bends around just these. How far apart their means lie, and in which
directions, says where another one might be: each window of a batch is moved by a drawn mixture of these differences.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["UnmetGenerators"]

SHARE = 0.7
"""Of the synthetic windows that are moved."""
REACH = 4.0
"""Farthest, in spreads of the generators about their mean."""


class UnmetGenerators:
    """Moves synthetic windows of features ``[window, number]``.

    Raises:
        ValueError: fewer than two synthetic generators to take differences from.
    """

    def __init__(self, features: Tensor, synthetic: np.ndarray, generators: Sequence[str] | np.ndarray) -> None:
        names = np.where(synthetic, np.asarray(generators), "")
        means = [features[torch.from_numpy(names == name)].float().mean(0) for name in sorted(set(names) - {""})]
        if len(means) < 2:
            raise ValueError("generators that were not met are imitated from the differences of at least two")
        stacked = torch.stack(means)
        self.differences = stacked - stacked.mean(0)

    def __call__(self, batch: Tensor, synthetic: Tensor, rng: np.random.Generator) -> Tensor:
        """``batch`` ``[window, number]`` with most of its ``synthetic`` ``[window]`` rows moved."""
        count, size = len(batch), len(self.differences)
        moved = synthetic.float() * torch.from_numpy((rng.random(count) < SHARE).astype(np.float32))
        far = torch.from_numpy(rng.uniform(0.0, REACH, count).astype(np.float32)) * moved
        drawn = torch.from_numpy(rng.standard_normal((count, size)).astype(np.float32)) / size**0.5
        return batch + (far[:, None] * drawn) @ self.differences
