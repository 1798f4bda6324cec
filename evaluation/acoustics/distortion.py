"""How far a time-aligned copy is from its recording: scale-invariant distortion ratio and log-mel distance."""

from __future__ import annotations

import math

import numpy as np

from evaluation.acoustics.log_mel import log_mel

__all__ = ["MAX_SI_SDR_DB", "log_mel_distance_db", "si_sdr_db"]

MAX_SI_SDR_DB = 100.0
"""An exact copy has no distortion and so no finite ratio; 16-bit rounding alone is at about 90 dB."""
MEL_BANDS = 80
MEL_RANGE_DB = 80.0
"""Bands this far below the recording's loudest count as silent: nobody hears them, and rounding lives there."""


def si_sdr_db(recording: np.ndarray, copy: np.ndarray) -> float | None:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, equation 5), at most 100.

    The part of the copy that is a multiple of the recording against the rest; means are taken off first. None where
    either is constant. At least -100 dB.
    """
    target = recording.astype(np.float64) - float(np.mean(recording, dtype=np.float64))
    other = copy.astype(np.float64) - float(np.mean(copy, dtype=np.float64))
    energy = float(target @ target)
    if energy <= 0.0 or float(other @ other) <= 0.0:
        return None
    projected = float(target @ other) / energy * target
    rest = other - projected
    kept, lost = float(projected @ projected), float(rest @ rest)
    if kept <= 0.0:
        return -MAX_SI_SDR_DB
    ratio = MAX_SI_SDR_DB if lost <= 0.0 else 10.0 * math.log10(kept / lost)
    return float(np.clip(ratio, -MAX_SI_SDR_DB, MAX_SI_SDR_DB))


def log_mel_distance_db(recording: np.ndarray, copy: np.ndarray, sample_rate_hz: int) -> float:
    """Mean absolute difference of 80 log-mel bands in dB, over frames of 32 ms every 10 ms.

    Levels are floored 80 dB under the recording's loudest band, so the distance lies in [0, infinity).
    """
    before = log_mel(recording, sample_rate_hz, bands=MEL_BANDS)
    floor = float(before.max()) - MEL_RANGE_DB
    after = log_mel(copy, sample_rate_hz, bands=MEL_BANDS)
    return float(np.abs(np.maximum(before, floor) - np.maximum(after, floor)).mean())
