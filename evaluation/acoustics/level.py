"""Levels: frame levels in dBFS, and integrated loudness in LUFS (ITU-R BS.1770-4).

0 dBFS is the mean square of a full-scale square wave, so a full-scale sine has -3.01 dBFS.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["SILENCE_DBFS", "frame_levels_dbfs", "frame_powers", "integrated_loudness_lufs", "is_silent", "to_db"]

SILENCE_DBFS = -100.0
"""Lowest level that is told apart: just under the step of 16-bit audio (-98 dBFS with its rounding noise)."""
SILENT_CLIP_DBFS = -70.0
"""A clip whose loudest frame stays below this holds no sound (the absolute gate of BS.1770, in LUFS)."""

SEARCH_STEPS = 50
"""Frames of 10 ms that the search for sound looks at together."""

BLOCK_S, BLOCK_STEP_S = 0.4, 0.1
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = -70.0, -10.0
LOUDNESS_OFFSET_DB = -0.691
# Analogue prototypes of the two K-weighting filters (BS.1770-4 annex 1 tabulates their 48 kHz coefficients only;
# these are the centre frequency, gain and quality that give that table back).
SHELF_HZ, SHELF_DB, SHELF_Q, SHELF_EXPONENT = 1681.974450955533, 3.999843853973347, 0.7071752369554196, 0.49966677415
HIGHPASS_HZ, HIGHPASS_Q = 38.13547087602444, 0.5003270373238773


def to_db(power: np.ndarray | float) -> np.ndarray:
    """Decibels of a mean square, not below ``SILENCE_DBFS``."""
    return 10.0 * np.log10(np.maximum(power, 10.0 ** (SILENCE_DBFS / 10.0)))


def frame_powers(samples: np.ndarray, sample_rate_hz: int, *, frame_s: float, step_s: float) -> np.ndarray:
    """Mean square of each whole frame, float64 ``[frame]``; one frame over everything where the clip is shorter."""
    size = max(1, int(round(frame_s * sample_rate_hz)))
    step = max(1, int(round(step_s * sample_rate_hz)))
    squares = np.square(samples, dtype=np.float64)
    if len(squares) <= size:
        return np.array([squares.mean()])
    total = np.concatenate([[0.0], np.cumsum(squares)])
    starts = np.arange(0, len(squares) - size + 1, step)
    return np.maximum(total[starts + size] - total[starts], 0.0) / size


def frame_levels_dbfs(
    samples: np.ndarray, sample_rate_hz: int, *, frame_s: float = 0.03, step_s: float = 0.01
) -> np.ndarray:
    """Level of each frame in dBFS, ``[frame]``, not below ``SILENCE_DBFS``."""
    return to_db(frame_powers(samples, sample_rate_hz, frame_s=frame_s, step_s=step_s))


def is_silent(samples: np.ndarray, sample_rate_hz: int) -> bool:
    """Whether no 30 ms frame reaches -70 dBFS; looks from the start until one does."""
    step, size = (int(round(part * sample_rate_hz)) for part in (0.01, 0.03))
    for start in range(0, len(samples), SEARCH_STEPS * step):  # each piece holds the frames that start in it, whole
        piece = samples[start : start + SEARCH_STEPS * step + size - step]
        if start and len(piece) < size:
            break
        if frame_levels_dbfs(piece, sample_rate_hz).max() >= SILENT_CLIP_DBFS:
            return False
    return True


def _k_weighting(sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """The two K-weighting biquads at any rate by the bilinear transform: sections ``[2, 3]`` of b and of a."""
    tangent = math.tan(math.pi * SHELF_HZ / sample_rate_hz)
    high = 10.0 ** (SHELF_DB / 20.0)
    middle = high**SHELF_EXPONENT
    norm = 1.0 + tangent / SHELF_Q + tangent**2
    shelf_b = [
        (high + middle * tangent / SHELF_Q + tangent**2) / norm,
        2.0 * (tangent**2 - high) / norm,
        (high - middle * tangent / SHELF_Q + tangent**2) / norm,
    ]
    shelf_a = [1.0, 2.0 * (tangent**2 - 1.0) / norm, (1.0 - tangent / SHELF_Q + tangent**2) / norm]
    tangent = math.tan(math.pi * HIGHPASS_HZ / sample_rate_hz)
    norm = 1.0 + tangent / HIGHPASS_Q + tangent**2
    pass_a = [1.0, 2.0 * (tangent**2 - 1.0) / norm, (1.0 - tangent / HIGHPASS_Q + tangent**2) / norm]
    return np.array([shelf_b, [1.0, -2.0, 1.0]]), np.array([shelf_a, pass_a])


def integrated_loudness_lufs(samples: np.ndarray, sample_rate_hz: int) -> float | None:
    """Gated loudness of a mono clip in LUFS (ITU-R BS.1770-4), or None where no 400 ms block passes -70 LUFS.

    Raises:
        ValueError: a clip shorter than one 400 ms block.
    """
    if len(samples) < int(round(BLOCK_S * sample_rate_hz)):
        raise ValueError(
            f"clip lasts {len(samples) / sample_rate_hz:.3f} s; loudness needs at least {BLOCK_S:g} s (one block)"
        )
    from evaluation.acoustics.filters import filtered

    sections = np.concatenate(_k_weighting(sample_rate_hz), axis=1)  # [section, 6]: b then a
    weighted = filtered(sections, samples.astype(np.float64))
    powers = frame_powers(weighted, sample_rate_hz, frame_s=BLOCK_S, step_s=BLOCK_STEP_S)
    kept = powers[_loudness(powers) > ABSOLUTE_GATE_LUFS]
    if not kept.size:
        return None
    kept = kept[_loudness(kept) > _loudness(kept.mean()) + RELATIVE_GATE_LU]
    return float(_loudness(kept.mean()))


def _loudness(power: np.ndarray | float) -> np.ndarray:
    return LOUDNESS_OFFSET_DB + 10.0 * np.log10(np.maximum(power, 1e-20))
