"""Background noise: its floor, and the ratio of active speech to it, from one clip without a reference.

Speech pauses: the quietest tenth of the frames is taken for background. A clip without pauses therefore shows a floor
that is too high, which is the known limit of every estimator of this family; compare clips, do not certify rooms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evaluation.acoustics.level import SILENCE_DBFS, frame_powers, is_silent, to_db

__all__ = ["NoiseEstimate", "active_frames", "estimate_noise"]

FRAME_S, STEP_S = 0.04, 0.01
QUIET_SHARE = 0.10
"""Share of frames taken for pauses: read speech pauses for 15-20 % of its time, so a tenth lies inside the pauses."""
ACTIVE_RANGE_DB = 30.0
"""A frame this far below the 95th percentile of levels is a pause."""
ACTIVE_ABOVE_FLOOR_DB = 2.0
"""And it must stand out of the floor by this much, else it is background."""


@dataclass(frozen=True, slots=True)
class NoiseEstimate:
    """``floor_dbfs``: level of the pauses; ``snr_db``: active speech, noise taken off, over the pauses."""

    floor_dbfs: float
    snr_db: float


def active_frames(powers: np.ndarray) -> np.ndarray:
    """Which frames hold sound in the foreground: bool ``[frame]`` from mean squares ``[frame]``.

    A steady sound has no foreground by this rule; all its frames then count as active.
    """
    levels = to_db(powers)
    below_loud = np.percentile(levels, 95) - ACTIVE_RANGE_DB
    above_floor = np.quantile(levels, QUIET_SHARE) + ACTIVE_ABOVE_FLOOR_DB
    active = levels >= max(below_loud, above_floor)
    return active if active.any() else np.ones(len(levels), dtype=bool)


def estimate_noise(samples: np.ndarray, sample_rate_hz: int) -> NoiseEstimate | None:
    """Noise floor in dBFS and signal-to-noise ratio in dB, or None for a silent clip.

    The constant offset of the recording is removed first. The floor is the mean power of the frames up to the tenth
    percentile, not below -100 dBFS; the ratio lies between -20 and 100 dB.
    """
    if is_silent(samples, sample_rate_hz):
        return None
    centred = samples.astype(np.float64) - float(np.mean(samples, dtype=np.float64))
    powers = frame_powers(centred, sample_rate_hz, frame_s=FRAME_S, step_s=STEP_S)
    quiet = float(np.quantile(powers, QUIET_SHARE))
    floor = max(float(powers[powers <= quiet].mean()), 10.0 ** (SILENCE_DBFS / 10.0))
    signal = float(powers[active_frames(powers)].mean()) - floor
    ratio = 10.0 * math.log10(max(signal / floor, 1e-2))
    return NoiseEstimate(floor_dbfs=10.0 * math.log10(floor), snr_db=ratio)
