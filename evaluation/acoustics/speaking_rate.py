"""Syllables per second from the sound alone: peaks of the vowel band's envelope.

Source: de Jong and Wempe, "Praat script to detect syllable nuclei and measure speech rate automatically", 2009: peaks
with a dip of 2 dB before the next one. Here the envelope is that of 300 to 3300 Hz, smoothed to 8 Hz.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import find_peaks

from evaluation.acoustics.filters import butterworth, filtered_both_ways
from evaluation.acoustics.level import is_silent, to_db

__all__ = ["syllables_per_s"]

BAND_HZ = (300.0, 3300.0)
ENVELOPE_HZ = 8.0
STEP_S = 0.01
MIN_DIP_DB = 2.0
BELOW_LOUD_DB = 25.0
"""A peak this far below the 95th percentile of the envelope is background, not a vowel."""


def syllables_per_s(samples: np.ndarray, sample_rate_hz: int) -> float | None:
    """Syllable nuclei per second of clip, pauses included; None for a silent clip or one under 0.5 s."""
    if len(samples) < 0.5 * sample_rate_hz or is_silent(samples, sample_rate_hz):
        return None
    band = filtered_both_ways(butterworth(2, BAND_HZ, "bandpass", sample_rate_hz), samples.astype(np.float64))
    power = filtered_both_ways(butterworth(2, ENVELOPE_HZ, "lowpass", sample_rate_hz), np.square(band))
    levels = to_db(np.maximum(power[:: int(STEP_S * sample_rate_hz)], 0.0))
    loud = float(np.percentile(levels, 95))
    if loud <= -95.0:
        return None
    peaks, _ = find_peaks(np.maximum(levels, loud - 60.0), height=loud - BELOW_LOUD_DB, prominence=MIN_DIP_DB)
    return len(peaks) * sample_rate_hz / len(samples)
