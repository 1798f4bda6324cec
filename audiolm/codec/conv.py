"""Causal convolutions: an output frame never depends on later input.

input    . . a b c d        kernel 3, dilation 1: two zeros in front,
output       A B C D        so that D sees b, c, d and nothing after d
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

__all__ = ["CausalContext", "CausalConv1d", "CausalConvTranspose1d", "ResidualUnit"]


class CausalContext(nn.Module):
    """Puts ``left`` zeros before ``[batch, ..., time]``: the silence before a recording."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (self.left, 0))


class CausalConv1d(nn.Module):
    """Convolution over ``[batch, channel, time]`` padded on the left only; output length is ceil(time / stride)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.stride, self.dilation = stride, dilation
        self.left = (kernel - 1) * dilation + 1 - stride
        self.conv = weight_norm(nn.Conv1d(inputs, outputs, kernel, stride=stride, dilation=dilation))

    def forward(self, x: Tensor) -> Tensor:
        right = -x.shape[-1] % self.stride
        return self.conv(F.pad(x, (self.left, right)))


class CausalConvTranspose1d(nn.Module):
    """Upsampling by ``stride`` with kernel 2 x stride; the overhanging tail is cut, so nothing later leaks in."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv = weight_norm(nn.ConvTranspose1d(inputs, outputs, 2 * stride, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)[..., : x.shape[-1] * self.stride]


class ResidualUnit(nn.Module):
    """ELU, dilated causal convolution, ELU, 1x1 convolution, skip (SoundStream paper, figure 3)."""

    def __init__(self, channels: int, *, kernel: int, dilation: int) -> None:
        super().__init__()
        self.dilated = CausalConv1d(channels, channels, kernel, dilation=dilation)
        self.pointwise = CausalConv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pointwise(F.elu(self.dilated(F.elu(x))))


def residual_units(channels: int, count: int, *, kernel: int, dilations: tuple[int, ...]) -> nn.Sequential:
    """``count`` residual units whose dilations cycle through ``dilations``."""
    units = [
        ResidualUnit(channels, kernel=kernel, dilation=dilations[index % len(dilations)]) for index in range(count)
    ]
    return nn.Sequential(*units)


def as_channels_first(samples: Tensor) -> Tensor:
    """``[batch, time]`` to ``[batch, 1, time]``; refuses any other rank."""
    if samples.ndim != 2:
        raise ValueError(f"waveform has shape {tuple(samples.shape)}; give [batch, time]")
    return torch.unsqueeze(samples, 1)
