"""Log-mel spectrograms for detectors: the only place where their features are defined.

The steps that keep the recording chain from becoming a cue are part of the feature, so that both classes
always meet them: bands end at ``HIGHEST_HZ``, energy below ``FLOOR_DB`` under the window's loudest cell is
flattened (digital silence looks like a quiet room), and each band's mean over the window is taken off
(level, equalisation, and microphone cancel).
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["FRAME_HOP_S", "MEL_BANDS", "SAMPLE_RATE_HZ", "log_mel", "mel_matrix"]

SAMPLE_RATE_HZ = 16_000
FFT_SIZE = 512
WINDOW_SAMPLES = 400
HOP_SAMPLES = 160
FRAME_HOP_S = HOP_SAMPLES / SAMPLE_RATE_HZ
MEL_BANDS = 64
LOWEST_HZ, HIGHEST_HZ = 60.0, 7_200.0
FLOOR_DB = 60.0
TINY_POWER = 1e-10
SCALE_DB = 10.0


def mel_matrix(
    bands: int = MEL_BANDS,
    *,
    fft_size: int = FFT_SIZE,
    sample_rate_hz: int = SAMPLE_RATE_HZ,
    lowest_hz: float = LOWEST_HZ,
    highest_hz: float = HIGHEST_HZ,
) -> np.ndarray:
    """Triangular mel filters, float32 ``[band, bin]``, peaks at 1; mel(f) = 2595 log10(1 + f / 700)."""

    def mel(frequency_hz: float) -> float:
        return 2595.0 * math.log10(1.0 + frequency_hz / 700.0)

    corners_hz = 700.0 * (10.0 ** (np.linspace(mel(lowest_hz), mel(highest_hz), bands + 2) / 2595.0) - 1.0)
    bins_hz = np.arange(fft_size // 2 + 1) * sample_rate_hz / fft_size
    low, centre, high = (corners_hz[k : k + bands, None] for k in range(3))
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


@cache
def _own_filters() -> np.ndarray:
    """:func:`mel_matrix` as :func:`log_mel` uses it: made once, for it took nearly half of the time."""
    return mel_matrix()


def log_mel(windows: torch.Tensor) -> torch.Tensor:
    """Normalised log-mel of equal-length windows.

    ``windows``: float32 ``[batch, time]`` at 16 kHz, any level. Gives float32 ``[batch, band, frame]`` in units
    of 10 dB around each band's mean, one frame per 10 ms (no padding: ``1 + (time - 512) // 160`` frames).

    Raises:
        ValueError: not 2-d, or shorter than one analysis frame.
    """
    import torch

    if windows.ndim != 2 or windows.shape[1] < FFT_SIZE:
        raise ValueError(
            f"windows have shape {tuple(windows.shape)}; give [batch, time] with at least {FFT_SIZE} samples"
        )
    taper = torch.hann_window(WINDOW_SAMPLES, device=windows.device)
    spectrum = torch.stft(windows, FFT_SIZE, HOP_SAMPLES, WINDOW_SAMPLES, taper, center=False, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    filters = torch.from_numpy(_own_filters()).to(windows.device)
    mel_power = torch.matmul(filters, power)  # [batch, band, frame]
    peak = mel_power.amax(dim=(1, 2), keepdim=True).clamp_min(TINY_POWER)
    level_db = 10.0 * torch.log10(mel_power / peak + 10.0 ** (-FLOOR_DB / 10.0))
    return (level_db - level_db.mean(dim=2, keepdim=True)) / SCALE_DB
