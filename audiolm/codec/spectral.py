"""Lighter encoder and decoder: a short-time Fourier transform in place of the sample-rate layers.

The network sees and predicts real and imaginary parts of a spectrum whose magnitudes are compressed, so that copying
its input would already reconstruct the waveform: phase needs no learning of its own.

Both work at twice the frame rate next to the signal and at the frame rate next to the quantiser. Analysis frames
end where their last sample ends, so latents are causal; the synthesis windows overlap, so a decoded sample needs
``window - hop/2`` samples of later frames: a fixed look-ahead (30 ms in ``nano``). The paper's decoder has none.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.codec.config import CodecConfig
from audiolm.codec.conv import CausalContext, CausalConv1d, CausalConvTranspose1d, as_channels_first, residual_units

__all__ = ["SpectralDecoder", "SpectralEncoder"]

COMPRESSION = 0.3
"""Exponent of the magnitude compression of analysis frames; phase is kept."""

MAX_COMPRESSED = 8.0
"""Ceiling of a predicted compressed magnitude (full scale is about 5): keeps an untrained decoder finite."""

FLOOR = 1e-6


class SpectralEncoder(nn.Module):
    """``[batch, time]`` to latents ``[batch, latent, frame]``."""

    window: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.window_size, self.step = config.window, config.hop // 2
        self.register_buffer("window", torch.hann_window(config.window), persistent=False)
        self.context = CausalContext(self.window_size - self.step)
        fine, coarse = config.encoder_channels
        self.first = CausalConv1d(config.window + 2, fine, 1)
        self.fine = residual_units(fine, config.encoder_units[0], kernel=3, dilations=config.dilations)
        self.down = CausalConv1d(fine, coarse, 4, stride=2)
        self.coarse = residual_units(coarse, config.encoder_units[1], kernel=3, dilations=config.dilations)
        self.last = CausalConv1d(coarse, config.latent_dim, 3)

    def forward(self, samples: Tensor) -> Tensor:
        padded = self.context(as_channels_first(samples).squeeze(1))
        spectrum = torch.stft(
            padded, self.window_size, self.step, window=self.window, center=False, return_complex=True
        )  # [batch, bin, 2 * frame]
        magnitude = spectrum.abs().clamp_min(1e-5)
        compressed = torch.view_as_real(spectrum) * magnitude.pow(COMPRESSION - 1.0).unsqueeze(-1)
        features = compressed.permute(0, 3, 1, 2).flatten(1, 2)  # [batch, 2 * bin, 2 * frame]
        return self.last(F.elu(self.coarse(self.down(F.elu(self.fine(self.first(features)))))))


class SpectralDecoder(nn.Module):
    """Latents ``[batch, latent, frame]`` to ``[batch, frame * hop]`` through an inverse transform with overlap-add."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.overlap_add = OverlapAdd(config.window, config.hop // 2)
        fine, coarse = config.decoder_channels
        self.first = CausalConv1d(config.latent_dim, coarse, 7)
        self.coarse = residual_units(coarse, config.decoder_units[1], kernel=3, dilations=config.dilations)
        self.up = CausalConvTranspose1d(coarse, fine, 2)
        self.fine = residual_units(fine, config.decoder_units[0], kernel=3, dilations=config.dilations)
        self.head = CausalConv1d(fine, config.window + 2, 1)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.coarse(self.first(latents))
        x = self.head(F.elu(self.fine(self.up(F.elu(x)))))  # [batch, 2 * bin, 2 * frame]
        compressed = torch.stack(x.chunk(2, dim=1), dim=-1).float()
        magnitude = (compressed.square().sum(dim=-1, keepdim=True) + FLOOR).sqrt().clamp(max=MAX_COMPRESSED)
        spectrum = torch.view_as_complex((compressed * magnitude.pow(1.0 / COMPRESSION - 1.0)).contiguous())
        return self.overlap_add(torch.fft.irfft(spectrum, n=self.overlap_add.size, dim=1))

    @property
    def look_ahead(self) -> int:
        """Samples of later signal that a decoded sample waits for."""
        return self.overlap_add.overlap


class OverlapAdd(nn.Module):
    """Frames ``[batch, window, frame]`` to samples ``[batch, frame * step]``: Hann-windowed, added up ``step`` apart,
    divided by the summed squared window. The first frame ends where the first step ends."""

    window: Tensor

    def __init__(self, size: int, step: int) -> None:
        super().__init__()
        self.size, self.step, self.overlap = size, step, size - step
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        total, norm = self.added(frames)
        return total[:, self.overlap :] / norm[:, self.overlap :].clamp_min(1e-3)

    def added(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of windowed frames and of squared windows, ``overlap`` samples longer than ``frame * step``."""
        count = frames.shape[-1]
        shape, kernel, stride = (1, self.overlap + count * self.step), (1, self.size), (1, self.step)
        weights = self.window.square()[:, None].expand(-1, count).unsqueeze(0)
        total = F.fold(frames * self.window[:, None], shape, kernel, stride=stride)[:, 0, 0]
        return total, F.fold(weights, shape, kernel, stride=stride)[:, 0, 0]
