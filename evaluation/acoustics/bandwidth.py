"""Effective bandwidth: the highest frequency at which a clip still has sound.

The long-term average spectrum is followed down from the top until it stands within 60 dB of its peak. A telephone
channel, an MP3's low-pass and a codec's missing octave all show as this edge.
"""

from __future__ import annotations

import numpy as np

from evaluation.acoustics.level import is_silent

__all__ = ["effective_bandwidth_hz"]

WINDOW_S = 0.128
DROP_DB = 60.0
BLOCK_FRAMES = 512
"""Windows that are transformed at a time, so that memory does not grow with the clip."""


def effective_bandwidth_hz(samples: np.ndarray, sample_rate_hz: int) -> float | None:
    """Upper band edge in Hz (at most half the rate), or None for a silent clip.

    Bins are ``1 / WINDOW_S`` = 7.8 Hz apart; the window's side lobes put a sharp edge up to five bins too high.
    """
    if is_silent(samples, sample_rate_hz):
        return None
    size = int(round(WINDOW_S * sample_rate_hz))
    centred = samples.astype(np.float64) - float(np.mean(samples, dtype=np.float64))
    padded = np.pad(centred, (0, max(0, size - len(centred))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 2]  # [frame, size]
    window = np.hanning(size)
    power = np.zeros(size // 2 + 1)
    for start in range(0, len(frames), BLOCK_FRAMES):
        spectra = np.fft.rfft(frames[start : start + BLOCK_FRAMES] * window, axis=-1)  # [frame, bin]
        power += np.square(np.abs(spectra)).sum(axis=0)
    above = np.flatnonzero(power >= power.max() * 10.0 ** (-DROP_DB / 10.0))
    return float(above[-1] * sample_rate_hz / size)
