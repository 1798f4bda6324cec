"""Reconstruction losses of the codec (SoundStream paper, section III-E, equation 5, and one more).

The mel term compares log-mel spectra at several window lengths. ``SpectralLoss`` adds a complex term on compressed
spectra: it sees phase, which the mel term does not, and steadies training before the discriminators join.
"""

from __future__ import annotations

import torch
import torchaudio
from torch import Tensor, nn

__all__ = ["LogSpectrumLoss", "MelLoss", "SpectralLoss"]

MEL_WINDOWS = (256, 512, 1024, 2048)
FLOOR = 1e-5


class MelLoss(nn.Module):
    """Mean L1 of log-mel energies over windows of 256 to 2048 samples, hop a quarter of each."""

    def __init__(self, sample_rate_hz: int, windows: tuple[int, ...] = MEL_WINDOWS) -> None:
        super().__init__()
        self.windows = windows
        for size in windows:
            bands = min(80, size // 12)
            bank = torchaudio.functional.melscale_fbanks(
                size // 2 + 1, 30.0, sample_rate_hz / 2, bands, sample_rate_hz, norm=None, mel_scale="htk"
            )
            self.register_buffer(f"bank_{size}", bank, persistent=False)
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of two waveforms ``[batch, time]``."""
        losses = []
        for size in self.windows:
            a, b = (self._log_mel(x, size) for x in (output, target))
            losses.append((a - b).abs().mean())
        return torch.stack(losses).mean()

    def _log_mel(self, samples: Tensor, size: int) -> Tensor:
        window = self.get_buffer(f"window_{size}")
        spectrum = torch.stft(samples, size, size // 4, window=window, return_complex=True)
        mel = spectrum.abs().transpose(1, 2) @ self.get_buffer(f"bank_{size}")
        return mel.clamp_min(FLOOR).log10()


class SpectralLoss(nn.Module):
    """Mean L1 between complex spectra whose magnitudes are compressed by a power of 0.3."""

    window: Tensor

    def __init__(self, size: int = 512, exponent: float = 0.3) -> None:
        super().__init__()
        self.size, self.exponent = size, exponent
        self.register_buffer("window", torch.hann_window(size), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        a, b = (self._compressed(x) for x in (output, target))
        return (a - b).abs().mean()

    def _compressed(self, samples: Tensor) -> Tensor:
        spectrum = torch.stft(samples, self.size, self.size // 4, window=self.window, return_complex=True)
        magnitude = spectrum.abs().clamp_min(1e-3)
        return torch.view_as_real(spectrum) * magnitude.pow(self.exponent - 1.0).unsqueeze(-1)


class LogSpectrumLoss(nn.Module):
    """Mean L1 of log magnitudes per frequency bin: it resolves harmonics and steady tones that mel bands blur."""

    def __init__(self, windows: tuple[int, ...] = (512, 1024, 2048)) -> None:
        super().__init__()
        self.windows = windows
        for size in windows:
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        losses = []
        for size in self.windows:
            window = self.get_buffer(f"window_{size}")
            a, b = (
                torch.stft(x, size, size // 4, window=window, return_complex=True).abs().clamp_min(1e-3).log10()
                for x in (output, target)
            )
            losses.append((a - b).abs().mean())
        return torch.stack(losses).mean()
