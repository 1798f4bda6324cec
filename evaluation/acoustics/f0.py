"""Fundamental frequency by YIN, vectorised over frames.

Source: de Cheveigne and Kawahara, "YIN, a fundamental frequency estimator for speech and music", JASA 111(4), 2002;
steps 2 to 5. Octave errors are cut by a second pass between bounds set from the first pass's quartiles (Hirst 2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import next_fast_len

from evaluation.acoustics.filters import compiled_loops
from evaluation.acoustics.level import to_db

__all__ = ["PitchSummary", "semitones", "summarise_pitch", "track_pitch"]

MIN_HZ, MAX_HZ = 60.0, 500.0
"""Adult speech: from the creak of a low male voice to a lively female voice."""
WINDOW_S, STEP_S = 0.032, 0.010
DIP_THRESHOLD = 0.2
"""A lag whose normalised difference is below this is a candidate: a fifth of a frame's power may be aperiodic."""
VOICED_RANGE_DB = 35.0
"""Frames this far below the loudest one have no pitch of the speaker: they are reverberation or hum."""
LOWEST_VOICED_DBFS = -60.0
ABOVE_FLOOR_DB = 6.0
"""And they must stand out of the quietest tenth of frames by this, else hum in the pauses counts as a voice."""
STEADY_DB = 10.0
"""A sound that hardly changes has no pauses: frames this close to the loudest one always count."""
MIN_VOICED_FRAMES = 10
BLOCK_FRAMES = 2_000
"""Frames that are transformed at a time, so that memory does not grow with the clip."""
FIRST_QUARTILE_FACTOR, THIRD_QUARTILE_FACTOR = 0.75, 1.5


@dataclass(frozen=True, slots=True)
class PitchSummary:
    """Pitch of one clip: median, distance of the 90th from the 10th percentile, share of frames that are voiced."""

    median_hz: float
    range_semitones: float
    voiced_share: float


def semitones(frequency_hz: np.ndarray | float, against_hz: np.ndarray | float) -> np.ndarray:
    """Musical interval ``12 log2(f / g)`` between two frequencies in Hz."""
    return 12.0 * np.log2(np.asarray(frequency_hz, dtype=np.float64) / against_hz)


def summarise_pitch(samples: np.ndarray, sample_rate_hz: int) -> PitchSummary | None:
    """Median and range over the voiced frames, or None with fewer than 10 of them (0.1 s)."""
    track = track_pitch(samples, sample_rate_hz)
    voiced = track[np.isfinite(track)]
    if len(voiced) < MIN_VOICED_FRAMES:
        return None
    low, middle, high = np.percentile(voiced, [10, 50, 90])
    return PitchSummary(float(middle), float(semitones(high, low)), len(voiced) / len(track))


def track_pitch(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Pitch in Hz between 60 and 500 every 10 ms: float64 ``[frame]``, NaN where a frame is unvoiced.

    A clip too short for one frame (about 50 ms) has one unvoiced frame.
    """
    size, lags = int(round(WINDOW_S * sample_rate_hz)), int(np.ceil(sample_rate_hz / MIN_HZ)) + 2
    if len(samples) < size + lags:
        return np.full(1, np.nan)
    step = int(round(STEP_S * sample_rate_hz))
    centred = samples.astype(np.float64) - float(np.mean(samples, dtype=np.float64))
    frames = np.lib.stride_tricks.sliding_window_view(centred, size + lags)[::step]
    running = np.concatenate([[0.0], np.cumsum(np.square(centred))])
    energies = np.lib.stride_tricks.sliding_window_view(running[size:] - running[:-size], lags)[::step]  # [frame, lag]
    starts = np.arange(len(frames)) * step
    loud = np.flatnonzero(_loud((running[starts + size + lags] - running[starts]) / (size + lags)))
    if not len(loud):
        return np.full(len(frames), np.nan)
    # frames are judged one by one, so the quiet ones need not be looked at
    blocks = [loud[start : start + BLOCK_FRAMES] for start in range(0, len(loud), BLOCK_FRAMES)]
    known = [_differences(frames[block], energies[block], size) for block in blocks[:1]]

    def track_between(low_hz: float, high_hz: float) -> np.ndarray:
        track = np.full(len(frames), np.nan)
        for number, block in enumerate(blocks):  # a long clip's blocks are made twice, so that memory does not grow
            pair = known[number] if number < len(known) else _differences(frames[block], energies[block], size)
            track[block] = _pick(*pair, sample_rate_hz, low_hz, high_hz)
        return track

    track = track_between(MIN_HZ, MAX_HZ)
    voiced = track[np.isfinite(track)]
    if len(voiced) < MIN_VOICED_FRAMES:
        return track
    low, high = np.percentile(voiced, [25, 75])
    return track_between(max(MIN_HZ, FIRST_QUARTILE_FACTOR * low), min(MAX_HZ, THIRD_QUARTILE_FACTOR * high))


def _loud(powers: np.ndarray) -> np.ndarray:
    """Frames loud enough to carry the speaker's voice: bool ``[frame]`` from mean squares ``[frame]``."""
    levels = to_db(powers)
    loudest = levels.max()
    above_floor = min(np.quantile(levels, 0.1) + ABOVE_FLOOR_DB, loudest - STEADY_DB)
    return levels >= max(loudest - VOICED_RANGE_DB, LOWEST_VOICED_DBFS, above_floor)


def _differences(frames: np.ndarray, energies: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The difference function d(lag) (equation 6, steps 1 and 2) and its cumulative mean normalised form (equation 8,
    step 3; 1 at lag 0) of frames ``[frame, size + lags]``: both ``[frame, lag]``.

    ``energies``: of the window that starts at each lag. The cross term comes from one FFT over all frames.
    """
    lags = frames.shape[1] - size
    length = next_fast_len(frames.shape[1], real=True)
    spectra = np.fft.rfft(frames[:, :size], length)
    np.multiply(np.fft.rfft(frames, length), np.conjugate(spectra, out=spectra), out=spectra)
    cross = np.fft.irfft(spectra, length)[:, :lags]
    loops = compiled_loops()
    if loops is not None:
        raw, normalised = np.empty_like(cross), np.empty_like(cross)
        loops.differences(cross, energies, raw, normalised)
        return raw, normalised
    raw = np.maximum(energies[:, :1] + energies - 2.0 * cross, 0.0)
    running = np.cumsum(raw[:, 1:], axis=1)
    normalised = np.ones_like(raw)
    np.divide(raw[:, 1:] * np.arange(1, lags), np.maximum(running, 1e-20), out=normalised[:, 1:])
    return raw, normalised


def _pick(
    difference: np.ndarray, normalised: np.ndarray, sample_rate_hz: int, low_hz: float, high_hz: float
) -> np.ndarray:
    """Frequency of each frame in Hz from its first deep dip (step 4) and a parabola through it (step 5), else NaN."""
    shortest = max(2, int(np.floor(sample_rate_hz / high_hz)))
    longest = min(difference.shape[1] - 2, int(np.ceil(sample_rate_hz / low_hz)))
    inside = normalised[:, shortest : longest + 1]
    dips = (
        (inside < DIP_THRESHOLD)
        & (inside <= normalised[:, shortest - 1 : longest])
        & (inside <= normalised[:, shortest + 1 : longest + 2])
    )
    voiced = dips.any(axis=1)
    lag = dips.argmax(axis=1) + shortest
    rows = np.arange(len(difference))
    before, here, after = (difference[rows, lag + shift] for shift in (-1, 0, 1))
    curvature = before - 2.0 * here + after
    offset = np.where(curvature > 0, 0.5 * (before - after) / np.where(curvature > 0, curvature, 1.0), 0.0)
    return np.where(voiced, sample_rate_hz / (lag + np.clip(offset, -1.0, 1.0)), np.nan)
