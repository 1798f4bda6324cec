"""Encoder and decoder over magnitudes alone: codes carry the spectrum, phase is rebuilt when decoding.

At 6 kbit/s a small model cannot afford a waveform's phase: bits spent on it are lost to the spectrum, and codes that
turn with it look like noise to a language model. So the encoder sees log magnitudes, the decoder predicts log
magnitudes, and :class:`~audiolm.codec.phase.PhaseReconstruction` finds a signal that has them.

Each side adds a network to a linear map. :func:`start_from_principal_components` sets the maps to the principal
components of recordings (STOI 0.95 on held-out speech before the first step, unquantised), so training starts from a
working codec and learns what a linear one cannot do.

Latents are causal. A decoded sample needs the frames that overlap it and the look-ahead of the phase.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.codec.config import CodecConfig
from audiolm.codec.conv import CausalContext, CausalConv1d, CausalConvTranspose1d, as_channels_first, residual_units
from audiolm.codec.phase import PhaseReconstruction

__all__ = [
    "MAGNITUDE_FLOOR",
    "MagnitudeDecoder",
    "MagnitudeEncoder",
    "magnitudes_of",
    "start_from_principal_components",
]

MAGNITUDE_FLOOR = 5e-3
"""Added to a magnitude before its logarithm; the Hann window of 640 gives a full-scale sine 160."""

SCALE, SHIFT = 0.5, 1.0
"""Bring log magnitudes (-5.3 to 5.1) near unit range: ``SCALE * x + SHIFT``."""
START_OF_NETWORKS = 0.1
"""Factor on the networks' last layers at the start, next to the linear maps."""


class MagnitudeEncoder(nn.Module):
    """``[batch, time]`` to latents ``[batch, latent, frame]``."""

    window: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.window_size, self.step = config.window, config.hop // 2
        self.register_buffer("window", torch.hann_window(config.window), persistent=False)
        self.context = CausalContext(self.window_size - self.step)
        self.linear = nn.Conv1d(config.window // 2 + 1, config.latent_dim, 2, stride=2)
        fine, coarse = config.encoder_channels
        self.first = CausalConv1d(config.window // 2 + 1, fine, 1)
        self.fine = residual_units(fine, config.encoder_units[0], kernel=3, dilations=config.dilations)
        self.down = CausalConv1d(fine, coarse, 4, stride=2)
        self.coarse = residual_units(coarse, config.encoder_units[1], kernel=3, dilations=config.dilations)
        self.last = CausalConv1d(coarse, config.latent_dim, 3)

    def log_magnitudes(self, samples: Tensor) -> Tensor:
        """Natural log of magnitude plus floor, ``[batch, bin, 2 * frame]``, of frames that end where a step ends.

        ``samples``: ``[batch, time]``, whole frames of codes.
        """
        padded = self.context(as_channels_first(samples).squeeze(1))
        spectrum = torch.stft(
            padded, self.window_size, self.step, window=self.window, center=False, return_complex=True
        )
        return (spectrum.abs() + MAGNITUDE_FLOOR).log()

    def from_log_magnitudes(self, log_magnitudes: Tensor) -> Tensor:
        """Latents of what :meth:`log_magnitudes` gave."""
        x = _near_unit(log_magnitudes)
        return self.linear(x) + self.last(F.elu(self.coarse(self.down(F.elu(self.fine(self.first(x)))))))

    def forward(self, samples: Tensor) -> Tensor:
        return self.from_log_magnitudes(self.log_magnitudes(samples))


class MagnitudeDecoder(nn.Module):
    """Latents ``[batch, latent, frame]`` to ``[batch, frame * hop]``; the waveform carries no gradient."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.linear = nn.ConvTranspose1d(config.latent_dim, config.window // 2 + 1, 2, stride=2)
        fine, coarse = config.decoder_channels
        self.first = CausalConv1d(config.latent_dim, coarse, 7)
        self.coarse = residual_units(coarse, config.decoder_units[1], kernel=3, dilations=config.dilations)
        self.up = CausalConvTranspose1d(coarse, fine, 2)
        self.fine = residual_units(fine, config.decoder_units[0], kernel=3, dilations=config.dilations)
        self.head = CausalConv1d(fine, config.window // 2 + 1, 1)
        self.phase = PhaseReconstruction(
            config.window, look_ahead=config.phase_look_ahead, iterations=config.phase_iterations
        )

    @property
    def look_ahead(self) -> int:
        """Samples of later signal that a decoded sample waits for."""
        return self.phase.delay

    def log_magnitudes(self, latents: Tensor) -> Tensor:
        """Predicted log of magnitude plus floor, ``[batch, bin, 2 * frame]``: what training compares."""
        x = self.head(F.elu(self.fine(self.up(F.elu(self.coarse(self.first(latents)))))))
        return (self.linear(latents) + x - SHIFT) / SCALE

    def forward(self, latents: Tensor) -> Tensor:
        return self.phase(magnitudes_of(self.log_magnitudes(latents)))


@torch.no_grad()
def start_from_principal_components(encoder: MagnitudeEncoder, decoder: MagnitudeDecoder, samples: Tensor) -> None:
    """Set both linear maps by ``samples`` ``[batch, time]`` (whole frames) and make the networks' part small.

    Latents are the first components of two neighbouring frames, all divided by one number so that their mean
    variance is 1: distances between latents stay distances between log spectra.

    Raises:
        ValueError: fewer frames than latent dimensions.
    """
    x = _near_unit(encoder.log_magnitudes(samples))
    bins = x.shape[1]
    pairs = torch.cat([x[:, :, 0::2], x[:, :, 1::2]], dim=1).transpose(1, 2).flatten(0, 1).double()
    dim = encoder.linear.out_channels
    if len(pairs) < dim:
        raise ValueError(f"{len(pairs)} frames cannot give {dim} principal components; give more recordings")
    mean = pairs.mean(dim=0)
    variances, directions = torch.linalg.eigh((pairs - mean).T @ (pairs - mean) / len(pairs))
    directions = directions[:, -dim:].flip(1)
    scale = variances[-dim:].mean().clamp_min(1e-12).sqrt()
    into = (directions.T / scale).view(dim, 2, bins).transpose(1, 2)
    out = (directions * scale).view(2, bins, dim).permute(2, 1, 0)
    encoder.linear.load_state_dict({"weight": into, "bias": -(mean @ directions) / scale})
    decoder.linear.load_state_dict({"weight": out, "bias": mean.view(2, bins).mean(dim=0)})
    for last in (encoder.last, decoder.head):
        for name, value in last.named_parameters():
            if name.endswith("weight.original0"):
                value.mul_(START_OF_NETWORKS)
            elif name.endswith("bias"):
                value.zero_()


def _near_unit(log_magnitudes: Tensor) -> Tensor:
    return log_magnitudes * SCALE + SHIFT


def magnitudes_of(log_magnitudes: Tensor) -> Tensor:
    """Magnitudes, 0 and more, of logs with the floor inside (capped at ten times full scale)."""
    return (log_magnitudes.float().clamp(max=7.4).exp() - MAGNITUDE_FLOOR).clamp_min(0.0)
