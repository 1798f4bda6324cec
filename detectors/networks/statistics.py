"""A small network over numbers that describe a window, with their mean and spread in training kept inside.

It looks in two ways, through layers and by one sum of the numbers and their squares, and gives the layers more say. The
layers know better what they were shown; the sum, which cannot bend around single generators and is trained on windows
moved as generators differ (:mod:`detectors.unmet_generators`), carries over better to what neither was shown.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detectors.kinds import KINDS, bona_fide_logit
from detectors.statistics_features import STATISTICS

__all__ = ["StatisticsNetwork"]

HIGHEST = 6.0
HIGHEST_SQUARE = 10.0
SAY = (0.75, 0.25)
"""Of the layers and of the sum, once the odds of either are spread alike."""


class StatisticsNetwork(nn.Module):
    """``[batch, STATISTICS]`` to one logit ``[batch]``; higher = more likely bona fide."""

    centre: Tensor
    spread: Tensor
    reach: Tensor

    def __init__(self, size: int = STATISTICS, width: int = 128, outputs: int = len(KINDS)) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.register_buffer("reach", torch.ones(2))
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
        self.sum = nn.Linear(size, outputs)
        self.squares = nn.Linear(size, outputs, bias=False)
        nn.init.zeros_(self.squares.weight)

    def adapt(self, features: Tensor) -> None:
        """Take mean and spread from the training features ``[window, number]``."""
        self.centre.copy_(features.mean(0))
        self.spread.copy_(features.std(0) + 1e-3)

    @torch.no_grad()
    def level(self, features: Tensor) -> None:
        """Take how far each way's odds lie apart over the training features: they are weighed by it."""
        odds = [self._odds(features[first : first + 256].float()) for first in range(0, len(features), 256)]
        self.reach.copy_(torch.cat(odds, dim=1).std(1).clamp_min(1e-3))

    def logits(self, features: Tensor) -> Tensor:
        """``[way, batch, kind]``: through the layers, then by the sum."""
        scaled = ((features - self.centre) / self.spread).clamp(-HIGHEST, HIGHEST)
        squares = scaled.square().clamp_max(HIGHEST_SQUARE) - 1.0
        return torch.stack([self.layers(scaled), self.sum(scaled) + self.squares(squares)])

    def _odds(self, features: Tensor) -> Tensor:
        return torch.stack([bona_fide_logit(way) for way in self.logits(features)])

    def forward(self, features: Tensor) -> Tensor:
        return torch.tensor(SAY) @ (self._odds(features) / self.reach[:, None])
