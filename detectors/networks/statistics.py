"""A small network over numbers that describe a window, with their mean and spread in training kept inside.

It looks in two ways, through layers and by one weighted sum, and says the mean of both. The layers know better what
they were shown; the sum, which cannot bend around single generators, carries over better to some that neither was.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detectors.kinds import KINDS, bona_fide_logit
from detectors.statistics_features import STATISTICS

__all__ = ["StatisticsNetwork"]

HIGHEST = 6.0


class StatisticsNetwork(nn.Module):
    """``[batch, STATISTICS]`` to one logit ``[batch]``; higher = more likely bona fide."""

    centre: Tensor
    spread: Tensor

    def __init__(self, size: int = STATISTICS, width: int = 128, outputs: int = len(KINDS)) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
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
        self.straight = nn.Linear(size, outputs)

    def adapt(self, features: Tensor) -> None:
        """Take mean and spread from the training features ``[window, number]``."""
        self.centre.copy_(features.mean(0))
        self.spread.copy_(features.std(0) + 1e-3)

    def logits(self, features: Tensor) -> Tensor:
        """``[way, batch, kind]``: through the layers, then by the sum."""
        scaled = ((features - self.centre) / self.spread).clamp(-HIGHEST, HIGHEST)
        return torch.stack([self.layers(scaled), self.straight(scaled)])

    def forward(self, features: Tensor) -> Tensor:
        return torch.stack([bona_fide_logit(way) for way in self.logits(features)]).mean(0)
