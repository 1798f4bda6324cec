"""Encoder and decoder over magnitudes alone: codes carry the spectrum, phase is rebuilt when decoding.

At 6 kbit/s a small model cannot afford a waveform's phase: bits spent on it are lost to the spectrum, and codes that
turn with it look like noise to a language model. So the encoder sees log magnitudes, the decoder predicts log
magnitudes, and :class:`~audiolm.codec.phase.PhaseReconstruction` finds a signal that has them.

Latents are causal. A decoded sample needs the frames that overlap it and the look-ahead of the phase.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.codec.config import CodecConfig
from audiolm.codec.conv import CausalConv1d, CausalConvTranspose1d, as_channels_first, residual_units
from audiolm.codec.phase import PhaseReconstruction

__all__ = ["MAGNITUDE_FLOOR", "MagnitudeDecoder", "MagnitudeEncoder", "magnitudes_of"]

MAGNITUDE_FLOOR = 5e-3
"""Added to a magnitude before its logarithm; the Hann window of 640 gives a full-scale sine 160."""

INPUT_SCALE, INPUT_SHIFT = 0.5, 1.0
OUTPUT_SCALE, OUTPUT_SHIFT = 2.0, -2.0
"""Bring log magnitudes (-5.3 to 5.1) near unit range, and the head's output back."""


class MagnitudeEncoder(nn.Module):
    """``[batch, time]`` to latents ``[batch, latent, frame]``."""

    window: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.window_size, self.step = config.window, config.hop // 2
        self.register_buffer("window", torch.hann_window(config.window), persistent=False)
        fine, coarse = config.encoder_channels
        self.first = CausalConv1d(config.window // 2 + 1, fine, 1)
        self.fine = residual_units(fine, config.encoder_units[0], kernel=3, dilations=config.dilations)
        self.down = CausalConv1d(fine, coarse, 4, stride=2)
        self.coarse = residual_units(coarse, config.encoder_units[1], kernel=3, dilations=config.dilations)
        self.last = CausalConv1d(coarse, config.latent_dim, 3)

    def log_magnitudes(self, samples: Tensor) -> Tensor:
        """Natural log of magnitude plus floor, ``[batch, bin, 2 * frame]``, of frames that end where a step ends."""
        padded = F.pad(as_channels_first(samples).squeeze(1), (self.window_size - self.step, 0))
        spectrum = torch.stft(
            padded, self.window_size, self.step, window=self.window, center=False, return_complex=True
        )
        return (spectrum.abs() + MAGNITUDE_FLOOR).log()

    def from_log_magnitudes(self, log_magnitudes: Tensor) -> Tensor:
        """Latents of what :meth:`log_magnitudes` gave."""
        x = self.first(log_magnitudes * INPUT_SCALE + INPUT_SHIFT)
        return self.last(F.elu(self.coarse(self.down(F.elu(self.fine(x))))))

    def forward(self, samples: Tensor) -> Tensor:
        return self.from_log_magnitudes(self.log_magnitudes(samples))


class MagnitudeDecoder(nn.Module):
    """Latents ``[batch, latent, frame]`` to ``[batch, frame * hop]``; the waveform carries no gradient."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        fine, coarse = config.decoder_channels
        self.first = CausalConv1d(config.latent_dim, coarse, 7)
        self.coarse = residual_units(coarse, config.decoder_units[1], kernel=3, dilations=config.dilations)
        self.up = CausalConvTranspose1d(coarse, fine, 2)
        self.fine = residual_units(fine, config.decoder_units[0], kernel=3, dilations=config.dilations)
        self.head = CausalConv1d(fine, config.window // 2 + 1, 1)
        self.phase = PhaseReconstruction(
            config.window, look_ahead=config.phase_look_ahead, iterations=config.phase_iterations
        )

    def log_magnitudes(self, latents: Tensor) -> Tensor:
        """Predicted log of magnitude plus floor, ``[batch, bin, 2 * frame]``: what training compares."""
        x = self.up(F.elu(self.coarse(self.first(latents))))
        return self.head(F.elu(self.fine(x))) * OUTPUT_SCALE + OUTPUT_SHIFT

    def forward(self, latents: Tensor) -> Tensor:
        return self.phase(magnitudes_of(self.log_magnitudes(latents)))


def magnitudes_of(log_magnitudes: Tensor) -> Tensor:
    """Magnitudes, 0 and more, of logs with the floor inside (capped at ten times full scale)."""
    return (log_magnitudes.float().clamp(max=7.4).exp() - MAGNITUDE_FLOOR).clamp_min(0.0)
