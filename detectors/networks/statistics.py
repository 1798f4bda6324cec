"""A small network over numbers that describe a window, with their mean and spread in training kept inside.

It looks in two ways, through layers and by one sum of the numbers, the same bounded, and their squares. The layers know
better what they were shown, and tell recordings through our own codec from what a model made; the sum, fitted by least
squares (:mod:`detectors.least_squares`), cannot bend around single generators and carries over better to those that
neither was shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from detectors.kinds import BONA_FIDE_KINDS, KINDS, bona_fide_logit
from detectors.least_squares import fit_sum
from detectors.statistics_features import STATISTICS

__all__ = ["StatisticsNetwork"]

BLOCK = 1024
MOST = math.log(2.0)
"""Nats that the layers may say for either kind of genuine speech. What is like nothing they were shown may get more;
it need not be a person's for that."""
HIGHEST = 6.0
HIGHEST_SQUARE = 10.0
SUM_SAY = 0.3
"""Of the sum, in whether a window is a recording; the rest is that of the layers."""


class StatisticsNetwork(nn.Module):
    """``[batch, STATISTICS]`` to one logit ``[batch]``; higher = more likely bona fide."""

    centre: Tensor
    spread: Tensor
    reach: Tensor

    def __init__(self, size: int = STATISTICS, width: int = 128, outputs: int = len(KINDS)) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.register_buffer("reach", torch.ones(()))
        self.layers = nn.Sequential(
            nn.Dropout(0.1),
            nn.Linear(size, width),
            nn.LayerNorm(width),
            nn.GELU(),
            nn.Dropout(0.4),
            nn.Linear(width, width // 2),
            nn.GELU(),
            nn.Dropout(0.3),
            nn.Linear(width // 2, outputs),
        )
        self.sum = nn.Linear(3 * size, 1)

    def adapt(self, features: Tensor) -> None:
        """Take mean and spread from the training features ``[window, number]``."""
        self.centre.copy_(features.mean(0))
        self.spread.copy_(features.std(0) + 1e-3)

    def _scaled(self, features: Tensor) -> Tensor:
        return ((features - self.centre) / self.spread).clamp(-HIGHEST, HIGHEST)

    def terms(self, features: Tensor) -> Tensor:
        """What the sum is of, ``[batch, 3 * STATISTICS]``: the scaled numbers, the same bounded, and their squares."""
        scaled = self._scaled(features)
        return torch.cat([scaled, scaled.tanh(), scaled.square().clamp_max(HIGHEST_SQUARE) - 1.0], dim=1)

    def logits(self, features: Tensor) -> Tensor:
        """Of the layers, ``[batch, kind]``."""
        return self.layers(self._scaled(features))

    @torch.no_grad()
    def fit_sum(self, features: Tensor, kinds: np.ndarray, generators: Sequence[str] | np.ndarray) -> None:
        """Fit the sum to training windows ``[window, number]``; spread it as far as the trained layers' odds are."""
        self.eval()
        weights, offset = fit_sum(self.terms, features, kinds, generators)
        self.sum.weight.copy_(weights[None])
        self.sum.bias.copy_(offset[None])
        layers, summed = [], []
        for first in range(0, len(features), BLOCK):
            block = features[first : first + BLOCK].float()
            layers.append(bona_fide_logit(self.logits(block)))
            summed.append(self.sum(self.terms(block)))
        self.reach.copy_(torch.cat(layers).std() / torch.cat(summed).std())

    def forward(self, features: Tensor) -> Tensor:
        logits = self.logits(features)
        odds = logits[:, :BONA_FIDE_KINDS] - logits[:, BONA_FIDE_KINDS:].logsumexp(1, True)
        recording, own_codec = odds.clamp_max(MOST).unbind(1)
        summed = self.sum(self.terms(features))[:, 0] * self.reach
        both = (1.0 - SUM_SAY) * recording + SUM_SAY * summed
        return torch.logaddexp(both, (1.0 - SUM_SAY) * own_codec)
