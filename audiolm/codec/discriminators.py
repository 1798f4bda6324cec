"""Discriminators of the codec: waveforms at several scales and complex spectra (SoundStream paper, section III-D).

All take a waveform ``[batch, time]`` and give a :class:`Judgement`: logits over time, one tensor per network, and the
activations of every inner layer for feature matching. Weights and inputs of every layer are real: a complex spectrum
enters as two channels, so that the networks can be sharded (DDP, FSDP) and run in bfloat16 like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from audiolm.codec.conv import as_channels_first

__all__ = [
    "Discriminator",
    "DiscriminatorConfig",
    "Judgement",
    "ResolutionDiscriminator",
    "StftDiscriminator",
    "WaveDiscriminator",
    "nano_discriminator",
    "paper_discriminator",
]

SLOPE = 0.2
"""Negative slope of the leaky rectifier behind every inner layer."""


class Judgement(NamedTuple):
    """``logits``: one tensor ``[batch, time]`` per network, above 0 for bona fide; ``features``: per network its
    inner activations, ``[batch, channel, time]`` or ``[batch, channel, time, frequency]``."""

    logits: list[Tensor]
    features: list[list[Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscriminatorConfig:
    """Which networks judge. Any of the three groups may be empty, not all.

    ``wave_scales``: factors by which the waveform is averaged down before each waveform network, of ``wave_channels``
    growing fourfold per layer up to ``wave_max_channels``. ``stft_windows``: window sizes of the published residual
    STFT network (hop a quarter of the window), ``stft_channels`` its C. ``resolution_windows`` and
    ``resolution_channels``: the light multi-resolution networks, plain strided convolutions over frequency.
    """

    wave_scales: tuple[int, ...] = (1, 2, 4)
    wave_channels: int = 16
    wave_max_channels: int = 1024
    stft_windows: tuple[int, ...] = (1024,)
    stft_channels: int = 32
    resolution_windows: tuple[int, ...] = ()
    resolution_channels: int = 8

    def __post_init__(self) -> None:
        if not (self.wave_scales or self.stft_windows or self.resolution_windows):
            raise ValueError("the discriminator has no network; name wave_scales, stft_windows or resolution_windows")
        if any(scale < 1 for scale in self.wave_scales):
            raise ValueError(f"wave_scales are {self.wave_scales}; use factors of 1 or more")
        if any(size < 64 or size % 64 for size in (*self.stft_windows, *self.resolution_windows)):
            raise ValueError(
                f"windows are {(*self.stft_windows, *self.resolution_windows)}; use multiples of 64 samples"
            )
        if self.wave_channels % 4 or self.wave_max_channels % 4:
            raise ValueError(f"wave channels {self.wave_channels} to {self.wave_max_channels} must be multiples of 4")


def paper_discriminator() -> DiscriminatorConfig:
    """As published: waveform networks at 1, 1/2 and 1/4 of the rate, and one STFT network of window 1024, hop 256."""
    return DiscriminatorConfig()


def nano_discriminator() -> DiscriminatorConfig:
    """Light enough to train beside the nano codec on one CPU core: three resolutions, no sample-rate network."""
    return DiscriminatorConfig(wave_scales=(), stft_windows=(), resolution_windows=(256, 512, 1024))


class WaveDiscriminator(nn.Module):
    """One waveform network of MelGAN's kind: a plain convolution, four grouped ones (groups of 4 channels, stride 4)
    and two plain ones; 64 logits per second at 16 kHz."""

    def __init__(self, scale: int, channels: int, max_channels: int) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [weight_norm(nn.Conv1d(1, channels, 15, padding=7))]
        width = channels
        for _ in range(4):
            wider = min(4 * width, max_channels)
            grouped = nn.Conv1d(width, wider, 41, stride=4, padding=20, groups=width // 4)
            layers.append(weight_norm(grouped))
            width = wider
        layers.append(weight_norm(nn.Conv1d(width, width, 5, padding=2)))
        self.layers = nn.ModuleList(layers)
        self.last = weight_norm(nn.Conv1d(width, 1, 3, padding=1))

    def forward(self, samples: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = as_channels_first(samples)
        if self.scale > 1:
            x = F.avg_pool1d(x, 2 * self.scale, stride=self.scale, padding=self.scale, count_include_pad=False)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return self.last(x).squeeze(1), features


class StftDiscriminator(nn.Module):
    """The published network on complex spectra: a 7x7 convolution, six residual blocks that halve frequency each and
    time every second time, and one layer over the frequencies that remain (figure 4)."""

    WIDTHS = (2, 4, 4, 8, 8, 16)

    def __init__(self, window: int, channels: int) -> None:
        super().__init__()
        self.spectrum = _Spectrum(window)
        self.first = weight_norm(nn.Conv2d(2, channels, 7, padding=3))
        blocks, width = [], channels
        for index, factor in enumerate(self.WIDTHS):
            blocks.append(_StftBlock(width, factor * channels, stride=(1 + index % 2, 2)))
            width = factor * channels
        self.blocks = nn.ModuleList(blocks)
        self.last = weight_norm(nn.Conv2d(width, 1, (1, window // 2 // 2 ** len(blocks))))

    def forward(self, samples: Tensor) -> tuple[Tensor, list[Tensor]]:
        spectrum = self.spectrum(samples)[..., :-1].contiguous()  # [batch, 2, frame, window / 2]
        x = F.leaky_relu(self.first(spectrum), SLOPE)
        features = [x]
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return self.last(x).flatten(1), features


class ResolutionDiscriminator(nn.Module):
    """A light network on complex spectra: three strided convolutions over frequency (the second halves time too), one
    that looks at time, and a last one to ``[batch, time * frequency]``: each logit judges one patch. Activations are
    kept channels-last, which a CPU convolves about a third faster at these widths."""

    LAYERS = ((1, (3, 8), (1, 4)), (2, (3, 5), (2, 2)), (4, (3, 5), (1, 2)), (4, (3, 3), (1, 1)))
    """Per layer: multiple of C, kernel and stride over (time, frequency)."""

    def __init__(self, window: int, channels: int) -> None:
        super().__init__()
        self.spectrum = _Spectrum(window)
        layers, width = [], 2
        for factor, kernel, stride in self.LAYERS:
            padding = (kernel[0] // 2, kernel[1] // 2)
            layers.append(weight_norm(nn.Conv2d(width, factor * channels, kernel, stride=stride, padding=padding)))
            width = factor * channels
        self.layers = nn.ModuleList(layers)
        self.last = weight_norm(nn.Conv2d(width, 1, 3, padding=1))

    def forward(self, samples: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.spectrum(samples).contiguous(memory_format=torch.channels_last)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return self.last(x).flatten(1), features


class Discriminator(nn.Module):
    """All networks of a configuration, judged together."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        networks: list[nn.Module] = [
            WaveDiscriminator(scale, config.wave_channels, config.wave_max_channels) for scale in config.wave_scales
        ]
        networks += [StftDiscriminator(window, config.stft_channels) for window in config.stft_windows]
        networks += [ResolutionDiscriminator(size, config.resolution_channels) for size in config.resolution_windows]
        self.networks = nn.ModuleList(networks)

    def forward(self, samples: Tensor) -> Judgement:
        """Judge ``[batch, time]``, any length of at least one sample."""
        if samples.ndim != 2 or samples.shape[1] == 0:
            raise ValueError(f"waveform has shape {tuple(samples.shape)}; give [batch, time] with at least one sample")
        results = [network(samples) for network in self.networks]
        return Judgement([logits for logits, _ in results], [features for _, features in results])


class _Spectrum(nn.Module):
    """``[batch, time]`` to the real and imaginary part ``[batch, 2, frame, bin]``, hop a quarter of the window.

    Scaled by the root of the summed squared window, so that white noise keeps its variance whatever the window.
    The result is a view in an unusual memory order: make it contiguous (or channels-last) before a convolution;
    torch 2.11 on a CPU writes past its buffers in the backward pass of a network whose activations inherit that order.
    """

    window: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        window = torch.hann_window(size)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        spectrum = torch.stft(
            samples, self.size, self.size // 4, window=self.window, pad_mode="constant", return_complex=True
        )
        return torch.view_as_real(spectrum).permute(0, 3, 2, 1)


class _StftBlock(nn.Module):
    """3x3 convolution, strided convolution to the new width, and a strided 1x1 convolution as the skip."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int]) -> None:
        super().__init__()
        kernel = (stride[0] + 2, stride[1] + 2)
        self.same = weight_norm(nn.Conv2d(inputs, inputs, 3, padding=1))
        self.strided = weight_norm(nn.Conv2d(inputs, outputs, kernel, stride=stride))
        self.skip = weight_norm(nn.Conv2d(inputs, outputs, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        inner = F.leaky_relu(self.same(x), SLOPE)
        skip = self.skip(x)
        inner = self.strided(F.pad(inner, (1, 2, 1, 2)))
        return F.leaky_relu(inner[..., : skip.shape[-2], : skip.shape[-1]] + skip, SLOPE)
