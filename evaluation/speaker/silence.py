"""Level and silence before a speaker encoder: bring every clip to one level, take long pauses out.

The encoder was trained on speech without long pauses. Its authors cut pauses with the WebRTC voice
activity detector, which needs a compiler; this one goes by energy alone, so loud noise counts as speech.
"""

from __future__ import annotations

import numpy as np

from evaluation.acoustics.level import frame_levels_dbfs

__all__ = ["set_level", "trim_silences"]

TARGET_DBFS = -26.0
"""Equal error rate on the calibration trials: 1.0 % with every clip at this level, 2.6 % with every clip at -30 dBFS,
2.2 % with quiet clips alone raised to -30 dBFS as the encoder's authors do, which also lets a change of gain move the
similarity."""
FRAME_S = 0.03
BELOW_LOUD_DB = 30.0
"""Frames this far below the 95th percentile of levels are silence (speech itself spans about 30 dB)."""
LOWEST_SPEECH_DBFS = -70.0
SMOOTHING_FRAMES = 8
KEPT_FRAMES = 3
"""Silence kept on either side of speech, so no pause longer than 6 frames (0.18 s) remains."""


def set_level(samples: np.ndarray, target_dbfs: float = TARGET_DBFS) -> np.ndarray:
    """The clip brought to ``target_dbfs`` (mean square over all samples), float32; digital silence stays as it is."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    if power <= 0.0:
        return samples
    return (samples * np.sqrt(10.0 ** (target_dbfs / 10.0) / power)).astype(np.float32)


def trim_silences(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """The clip without its long pauses, float32 ``[time]``; empty where no frame holds sound.

    Frame decisions are smoothed over 8 frames of 30 ms (majority) and widened by 3 frames on both sides.
    """
    size = int(round(FRAME_S * sample_rate_hz))
    whole = samples[: len(samples) - len(samples) % size]
    if not len(whole):
        return np.zeros(0, dtype=np.float32)
    levels = frame_levels_dbfs(whole, sample_rate_hz, frame_s=FRAME_S, step_s=FRAME_S)
    speech = (levels >= np.percentile(levels, 95) - BELOW_LOUD_DB) & (levels >= LOWEST_SPEECH_DBFS)
    share = _centred_sum(speech, SMOOTHING_FRAMES) / SMOOTHING_FRAMES
    kept = _centred_sum(share >= 0.5, 2 * KEPT_FRAMES + 1) > 0
    return np.ascontiguousarray(whole[np.repeat(kept, size)], dtype=np.float32)


def _centred_sum(flags: np.ndarray, width: int) -> np.ndarray:
    """Sum of ``width`` neighbours around each entry, zeros outside."""
    total = np.convolve(flags.astype(np.float64), np.ones(width), mode="full")
    start = width // 2
    return total[start : start + len(flags)]
