"""A light convolutional network with max-feature-map activations (Wu et al. 2018; Lavrentyeva et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from detectors.kinds import KINDS, bona_fide_logit

__all__ = ["Lcnn"]


class MaxFeatureMap(nn.Module):
    """The larger of the two halves of the channels, cell by cell."""

    def forward(self, maps: Tensor) -> Tensor:
        first, second = maps.chunk(2, dim=1)
        return torch.maximum(first, second)


def _layer(before: int, after: int, size: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(before, 2 * after, size, stride, size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(2 * after), MaxFeatureMap()]


class Lcnn(nn.Module):
    """Log-linear spectrum ``[batch, band, frame]`` to one logit ``[batch]``; higher = more likely bona fide.

    Convolutions of 3 x 3 between ones of 1 x 1, max pooling, then mean, spread and maximum over time of what the
    bands hold (where the original has recurrent layers, which cost more than the rest on a CPU).
    """

    def __init__(self, outputs: int = len(KINDS), dropout: float = 0.25) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            *_layer(1, 12, 5, 2),
            nn.MaxPool2d(2, ceil_mode=True),
            *_layer(12, 16, 1),
            *_layer(16, 24, 3),
            nn.MaxPool2d(2, ceil_mode=True),
            *_layer(24, 32, 1),
            *_layer(32, 48, 3),
            *_layer(48, 48, 1),
            *_layer(48, 64, 3),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(3 * 64, outputs)

    def logits(self, features: Tensor) -> Tensor:
        """``[batch, kind]``."""
        maps = self.maps(features.unsqueeze(1)).flatten(2)
        pooled = torch.cat([maps.mean(2), maps.std(2), maps.amax(2)], dim=1)
        return self.head(self.dropout(pooled))

    def forward(self, features: Tensor) -> Tensor:
        return bona_fide_logit(self.logits(features))
