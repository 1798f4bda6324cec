"""Discriminators over log magnitudes, for a codec that predicts no phase: patches of the spectrogram at two scales."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from audiolm.codec.discriminators import Judgement

__all__ = ["MagnitudeDiscriminator"]

SLOPE = 0.2
LAYERS = ((1, (3, 9), (1, 2)), (2, (3, 9), (2, 2)), (2, (3, 9), (1, 2)), (2, (3, 3), (1, 1)))
"""Width as a multiple of the channels, kernel and stride over (frame, bin)."""


class MagnitudeDiscriminator(nn.Module):
    """One patch network per scale; a scale averages that many bins and frames together first."""

    def __init__(self, *, channels: int = 16, scales: tuple[int, ...] = (1, 2)) -> None:
        super().__init__()
        if not scales or channels < 1:
            raise ValueError(f"scales {scales} of {channels} channels; give at least one scale and one channel")
        self.scales = scales
        self.networks = nn.ModuleList(_PatchNetwork(channels) for _ in scales)

    def forward(self, log_magnitudes: Tensor) -> Judgement:
        """Judge ``[batch, bin, frame]``."""
        if log_magnitudes.ndim != 3:
            raise ValueError(f"log magnitudes have shape {tuple(log_magnitudes.shape)}; give [batch, bin, frame]")
        image = log_magnitudes.transpose(1, 2).unsqueeze(1)
        results = []
        for scale, network in zip(self.scales, self.networks, strict=True):
            x = F.avg_pool2d(image, scale, ceil_mode=True) if scale > 1 else image
            results.append(network(x.contiguous(memory_format=torch.channels_last)))
        return Judgement([logits for logits, _ in results], [features for _, features in results])


class _PatchNetwork(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        layers, width = [], 1
        for factor, kernel, stride in LAYERS:
            padding = (kernel[0] // 2, kernel[1] // 2)
            layers.append(weight_norm(nn.Conv2d(width, factor * channels, kernel, stride=stride, padding=padding)))
            width = factor * channels
        self.layers = nn.ModuleList(layers)
        self.last = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = image * 0.5 + 1.0, []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return self.last(x).flatten(1), features
