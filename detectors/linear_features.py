"""Spectra on a linear frequency axis, beside the mel bands of :mod:`detectors.features`, with the same safeguards.

``log_linear``: 25 ms windows every 10 ms, even bands to 7.6 kHz, where generated speech and coding differ most from a
recording. ``wideband``: 4 ms windows every 2 ms, which show each pitch pulse: the fine temporal structure that lost or
smoothed phase blurs. ``lfcc``: cepstra of the first, with their changes. Floor under the loudest cell and mean per band
are taken off as there, so that level, equalisation and digital silence are no cue.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from detectors.features import FFT_SIZE, FLOOR_DB, HOP_SAMPLES, SAMPLE_RATE_HZ, SCALE_DB, TINY_POWER, WINDOW_SAMPLES

if TYPE_CHECKING:
    import torch

__all__ = ["LFCC_SIZE", "LINEAR_BANDS", "WIDEBAND_BANDS", "lfcc", "linear_matrix", "log_linear", "wideband"]

LINEAR_BANDS, LINEAR_HIGHEST_HZ = 80, 7_600.0
WIDEBAND_BANDS = 30
WIDEBAND_FFT, WIDEBAND_HOP = 64, 32
CEPSTRA, LFCC_SIZE = 20, 60
DELTA_REACH = 2


def linear_matrix(bands: int = LINEAR_BANDS, *, highest_hz: float = LINEAR_HIGHEST_HZ) -> np.ndarray:
    """Triangular filters with evenly spaced centres, float32 ``[band, bin]``, peaks at 1."""
    corners_hz = np.linspace(0.0, highest_hz, bands + 2)
    bins_hz = np.arange(FFT_SIZE // 2 + 1) * SAMPLE_RATE_HZ / FFT_SIZE
    low, centre, high = (corners_hz[k : k + bands, None] for k in range(3))
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def _levelled(power: torch.Tensor) -> torch.Tensor:
    """Power ``[batch, band, frame]`` in units of 10 dB around each band's mean, floored under the loudest cell."""
    import torch

    peak = power.amax(dim=(1, 2), keepdim=True).clamp_min(TINY_POWER)
    level_db = 10.0 * torch.log10(power / peak + 10.0 ** (-FLOOR_DB / 10.0))
    return (level_db - level_db.mean(dim=2, keepdim=True)) / SCALE_DB


def _checked(windows: torch.Tensor) -> None:
    if windows.ndim != 2 or windows.shape[1] < FFT_SIZE:
        shape = tuple(windows.shape)
        raise ValueError(f"windows have shape {shape}; give [batch, time] with at least {FFT_SIZE} samples")


def log_linear(windows: torch.Tensor) -> torch.Tensor:
    """``[batch, time]`` at 16 kHz to float32 ``[batch, LINEAR_BANDS, frame]``, a frame per 10 ms.

    Raises:
        ValueError: not 2-d, or shorter than one analysis frame.
    """
    import torch

    _checked(windows)
    taper = torch.hann_window(WINDOW_SAMPLES)
    spectrum = torch.stft(windows, FFT_SIZE, HOP_SAMPLES, WINDOW_SAMPLES, taper, center=False, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return _levelled(torch.matmul(torch.from_numpy(linear_matrix()), power))


def wideband(windows: torch.Tensor) -> torch.Tensor:
    """``[batch, time]`` at 16 kHz to float32 ``[batch, WIDEBAND_BANDS, frame]``, a frame per 2 ms, bands of 250 Hz.

    Raises:
        ValueError: not 2-d, or too short.
    """
    import torch

    _checked(windows)
    taper = torch.hann_window(WIDEBAND_FFT)
    spectrum = torch.stft(windows, WIDEBAND_FFT, WIDEBAND_HOP, WIDEBAND_FFT, taper, center=False, return_complex=True)
    power = spectrum.real.square() + spectrum.imag.square()
    return _levelled(power[:, 1 : 1 + WIDEBAND_BANDS])


def _cosines() -> np.ndarray:
    """Type-II cosine transform, orthonormal, float32 ``[CEPSTRA, LINEAR_BANDS]``."""
    band, row = np.arange(LINEAR_BANDS) + 0.5, np.arange(CEPSTRA)[:, None]
    basis = np.cos(math.pi / LINEAR_BANDS * band * row) * math.sqrt(2.0 / LINEAR_BANDS)
    basis[0] /= math.sqrt(2.0)
    return basis.astype(np.float32)


def _changes(values: torch.Tensor) -> torch.Tensor:
    """Regression slope over five frames, edges repeated; ``[batch, row, frame]``."""
    import torch

    padded = torch.nn.functional.pad(values, (DELTA_REACH, DELTA_REACH), mode="replicate")
    frames, total = values.shape[2], torch.zeros_like(values)
    for step in range(1, DELTA_REACH + 1):
        ahead = padded[:, :, DELTA_REACH + step : DELTA_REACH + step + frames]
        behind = padded[:, :, DELTA_REACH - step : DELTA_REACH - step + frames]
        total = total + step * (ahead - behind)
    return total / (2.0 * sum(step * step for step in range(1, DELTA_REACH + 1)))


def lfcc(levels: torch.Tensor) -> torch.Tensor:
    """Linear-frequency cepstra with first and second changes, ``[batch, LFCC_SIZE, frame]``, of :func:`log_linear`."""
    import torch

    cepstra = torch.matmul(torch.from_numpy(_cosines()), levels)
    first = _changes(cepstra)
    return torch.cat([cepstra, first, _changes(first)], dim=1)
