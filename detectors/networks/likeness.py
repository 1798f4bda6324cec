"""The small network of the speech check."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["LikenessNetwork"]

WIDTH = 48


class LikenessNetwork(nn.Module):
    """Window statistics ``[window, feature]`` to the log-odds of speech ``[window]``."""

    centre: torch.Tensor
    spread: torch.Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.layers = nn.Sequential(
            nn.Linear(features, WIDTH),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(WIDTH, WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, 1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        standard = ((features - self.centre) / self.spread).clamp(-5.0, 5.0)
        return self.layers(standard).squeeze(1)
