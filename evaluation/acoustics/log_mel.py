"""Log-mel spectrogram in dBFS, for measures that compare frames; triangular filters on the HTK mel scale.

A full-scale sine has about -3 dBFS in its band, whatever the window: the power spectrum is scaled by the window's own.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from evaluation.acoustics.level import SILENCE_DBFS

__all__ = ["log_mel", "mel_filters"]

BLOCK_FRAMES = 2_000
"""Frames that are transformed at a time, so that memory does not grow with the clip."""


def log_mel(
    samples: np.ndarray,
    sample_rate_hz: int,
    *,
    bands: int,
    window_s: float = 0.032,
    hop_s: float = 0.010,
    floor_dbfs: float = SILENCE_DBFS,
) -> np.ndarray:
    """Level of each mel band in dBFS, float64 ``[frame, band]``, not below ``floor_dbfs``; Hann window, whole frames.

    A clip shorter than one window is filled up with silence to one frame.
    """
    size, hop = int(round(window_s * sample_rate_hz)), int(round(hop_s * sample_rate_hz))
    if len(samples) < size:
        samples = np.pad(samples, (0, size - len(samples)))
    window = np.hanning(size + 1)[:-1]
    scale = 2.0 / (size * np.square(window).sum())  # power of a one-sided spectrum, as a mean square
    filters = mel_filters(bands, size, sample_rate_hz)
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[::hop]
    powers = [
        np.square(np.abs(np.fft.rfft(frames[start : start + BLOCK_FRAMES].astype(np.float64) * window))) @ filters
        for start in range(0, len(frames), BLOCK_FRAMES)
    ]
    floor = 10.0 ** (floor_dbfs / 10.0)
    return 10.0 * np.log10(np.maximum(scale * np.concatenate(powers), floor))


@lru_cache(maxsize=8)
def mel_filters(bands: int, fft_size: int, sample_rate_hz: int) -> np.ndarray:
    """Triangles of height 1 whose corners lie equally far apart in mel: float64 ``[bin, band]``.

    A band narrower than a bin takes the bin nearest to its centre.
    """
    frequencies = np.arange(fft_size // 2 + 1) * sample_rate_hz / fft_size
    top = 2595.0 * np.log10(1.0 + sample_rate_hz / 2 / 700.0)
    corners = 700.0 * (10.0 ** (np.linspace(0.0, top, bands + 2) / 2595.0) - 1.0)
    rising = (frequencies[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - frequencies[:, None]) / (corners[2:] - corners[1:-1])
    filters = np.maximum(np.minimum(rising, falling), 0.0)
    empty = np.flatnonzero(filters.sum(axis=0) == 0.0)
    filters[np.abs(frequencies[:, None] - corners[1:-1][empty]).argmin(axis=0), empty] = 1.0
    filters.setflags(write=False)
    return filters
