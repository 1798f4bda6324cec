"""What a codec in training is compared by: waveforms, or log magnitudes where phase is rebuilt without gradient.

Both give named losses of (output, target). A discriminator, where there is one, judges the same pair.
"""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor, nn

from audiolm.codec.config import CodecConfig
from audiolm.codec.losses import LogSpectrumLoss, MelLoss, SpectralLoss
from audiolm.codec.magnitude import MAGNITUDE_FLOOR, MagnitudeDecoder, MagnitudeEncoder
from audiolm.codec.soundstream import SoundStream

__all__ = ["MagnitudeObjective", "Objective", "WaveformObjective", "objective_for"]

COMPRESSION = 0.3
BAND_FLOOR = 1e-2
N_BANDS = 80


class Objective(nn.Module):
    """``WEIGHTS``: every loss and its default weight."""

    WEIGHTS: dict[str, float]

    def target(self, codec: SoundStream, samples: Tensor) -> Tensor:
        """What the output should be, from ``samples`` ``[batch, time]``."""
        raise NotImplementedError

    def output(self, codec: SoundStream, latents: Tensor, samples: Tensor) -> Tensor:
        """What the decoder makes of ``latents`` ``[batch, latent, frame]``, shaped as the target."""
        raise NotImplementedError

    def losses(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """One scalar per name in ``WEIGHTS``."""
        raise NotImplementedError


class WaveformObjective(Objective):
    """Multi-scale log-mel distance (SoundStream paper, equation 5), complex spectra and log spectra of waveforms."""

    WEIGHTS = {"mel": 1.0, "spectral": 8.0, "log_spectrum": 1.0}

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.mel = MelLoss(config.sample_rate_hz)
        self.spectral = SpectralLoss()
        self.log_spectrum = LogSpectrumLoss()

    def target(self, codec: SoundStream, samples: Tensor) -> Tensor:
        return samples

    def output(self, codec: SoundStream, latents: Tensor, samples: Tensor) -> Tensor:
        return codec.decoder(latents)[:, : samples.shape[1]].float()

    def losses(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        return {
            "mel": self.mel(output, target),
            "spectral": self.spectral(output, target),
            "log_spectrum": self.log_spectrum(output, target),
        }


class MagnitudeObjective(Objective):
    """L1 of log magnitudes, of magnitudes to the power 0.3, and of log energies in 80 mel bands."""

    WEIGHTS = {"log_magnitude": 1.0, "compressed": 2.0, "band": 1.0}

    bank: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        nyquist = config.sample_rate_hz / 2
        bank = torchaudio.functional.melscale_fbanks(
            config.window // 2 + 1, 30.0, nyquist, min(N_BANDS, config.window // 8), config.sample_rate_hz
        )
        self.register_buffer("bank", bank, persistent=False)

    def target(self, codec: SoundStream, samples: Tensor) -> Tensor:
        encoder = codec.encoder
        if not isinstance(encoder, MagnitudeEncoder):
            raise ValueError(f"the magnitude objective trains the magnitude front end, not {codec.config.front_end!r}")
        with torch.no_grad():
            return encoder.log_magnitudes(codec.whole_frames(samples))

    def output(self, codec: SoundStream, latents: Tensor, samples: Tensor) -> Tensor:
        decoder = codec.decoder
        if not isinstance(decoder, MagnitudeDecoder):
            raise ValueError(f"the magnitude objective trains the magnitude front end, not {codec.config.front_end!r}")
        return decoder.log_magnitudes(latents).float()

    def losses(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        ours, theirs = output.exp().clamp_min(MAGNITUDE_FLOOR / 10), target.exp()
        bands = [(x.transpose(1, 2) @ self.bank + BAND_FLOOR).log() for x in (ours, theirs)]
        return {
            "log_magnitude": (output - target).abs().mean(),
            "compressed": (ours.pow(COMPRESSION) - theirs.pow(COMPRESSION)).abs().mean(),
            "band": (bands[0] - bands[1]).abs().mean(),
        }


def objective_for(config: CodecConfig) -> Objective:
    """The objective that fits a front end."""
    return MagnitudeObjective(config) if config.front_end == "magnitude" else WaveformObjective(config)
