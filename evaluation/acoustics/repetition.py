"""What a language model does when it is stuck: the same sounds again and again, or nothing at all.

Both are looked for in the sound itself, so no recogniser has to understand the clip.
"""

from __future__ import annotations

import numpy as np

from evaluation.acoustics.level import frame_levels_dbfs
from evaluation.acoustics.log_mel import log_mel

__all__ = ["longest_loop_s", "longest_run", "longest_silence_s"]

SILENT_BELOW_LOUD_DB = 35.0
"""Speech itself spans about 30 dB under the 95th percentile of frame levels; what lies deeper is a pause."""
SILENT_DBFS = -60.0
LEVEL_STEP_S = 0.010

BANDS, HOP_S = 32, 0.020
RANGE_DB = 50.0
"""Bands this far under the clip's loudest do not count: they hold background, which is alike everywhere."""
MIN_SPREAD_DB = 6.0
"""A clip that varies less than this is judged as if it varied so much: then a steady sound repeats itself."""
MIN_LAG_S = 0.12
"""Sounds of speech last 50 to 100 ms; at shorter distances every clip resembles itself."""
SMOOTHING_FRAMES = 9
"""A stretch of 0.18 s must be alike as a whole; single frames of different sounds often are."""
ALIKE = 0.4
"""Half the mean squared difference in units of the clip's own variance: 0 for equal frames, 1 for unrelated ones."""


def longest_silence_s(samples: np.ndarray, sample_rate_hz: int) -> float:
    """Longest stretch of 30 ms frames under -60 dBFS, or 35 dB under the 95th percentile of frame levels, in s.

    Pauses at the start and the end of a clip count as well. A silent clip is one silence of its whole length.
    """
    levels = frame_levels_dbfs(samples, sample_rate_hz, step_s=LEVEL_STEP_S)
    silent = levels < max(SILENT_DBFS, float(np.percentile(levels, 95)) - SILENT_BELOW_LOUD_DB)
    if silent.all():
        return len(samples) / sample_rate_hz
    return longest_run(silent) * LEVEL_STEP_S


def longest_loop_s(samples: np.ndarray, sample_rate_hz: int) -> float:
    """Longest stretch that comes again, at any distance from 0.12 s on, in seconds of sound (pauses not counted).

    Two stretches are alike where their log-mel frames, smoothed over 0.18 s, differ by less than two fifths of the
    clip's variance. A sound of period P that is heard k times in a row gives (k - 1) P; a tone held for T s gives
    nearly T.
    """
    mels = log_mel(samples, sample_rate_hz, bands=BANDS, hop_s=HOP_S)
    if float(mels.max()) <= SILENT_DBFS:
        return 0.0
    mels = np.maximum(mels, float(mels.max()) - RANGE_DB)
    sounding = mels.max(axis=1) > float(mels.max()) - SILENT_BELOW_LOUD_DB
    centred = mels - mels.mean(axis=0)
    spread = max(float(np.sqrt(np.square(centred).mean())), MIN_SPREAD_DB)
    frames = centred / spread  # [frame, band]
    kernel = np.ones(SMOOTHING_FRAMES) / SMOOTHING_FRAMES
    longest = 0
    for lag in range(int(round(MIN_LAG_S / HOP_S)), len(frames) - SMOOTHING_FRAMES + 1):
        distance = 0.5 * np.square(frames[lag:] - frames[:-lag]).mean(axis=1)
        if len(distance) <= longest:
            break
        alike = np.convolve(distance, kernel, mode="same") < ALIKE
        longest = max(longest, longest_run(alike, counted=sounding[:-lag] & sounding[lag:]))
    return longest * HOP_S


def longest_run(flags: np.ndarray, counted: np.ndarray | None = None) -> int:
    """Most entries in a row that are True, bool ``[entry]``; of each run only the ``counted`` entries, where given."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    if not len(starts):
        return 0
    total = np.concatenate([[0], np.cumsum(np.ones(len(flags)) if counted is None else counted)])
    return int((total[ends] - total[starts]).max())
