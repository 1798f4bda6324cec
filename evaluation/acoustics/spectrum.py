"""The colour of a voice and its microphone: long-term average spectrum in third octaves, and its tilt."""

from __future__ import annotations

import numpy as np

from evaluation.acoustics.level import is_silent, to_db
from evaluation.acoustics.noise import active_frames

__all__ = ["CENTRES_HZ", "long_term_spectrum_db", "tilt_db_per_octave"]

WINDOW_S = 0.064
CENTRES_HZ = 1000.0 * 2.0 ** (np.arange(-10, 9) / 3.0)
"""Third octaves from 100 Hz to 6.35 kHz (IEC 61260-1)."""
TILT_HZ = (200.0, 5000.0)
"""Below stands the fundamental, above the fricatives: neither follows the voice's slope."""
BLOCK_FRAMES = 1_000


def long_term_spectrum_db(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray | None:
    """Mean power density of active speech in each third octave, dB against the mean of all bands: float64 ``[band]``.

    None for a silent clip. Gain does not change it.
    """
    if is_silent(samples, sample_rate_hz):
        return None
    size = int(round(WINDOW_S * sample_rate_hz))
    centred = samples.astype(np.float64) - float(np.mean(samples, dtype=np.float64))
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(centred, (0, max(0, size - len(centred)))), size)
    frames = frames[:: size // 2]
    kept = frames[active_frames(np.square(frames).mean(axis=1))]
    power = np.zeros(size // 2 + 1)
    for start in range(0, len(kept), BLOCK_FRAMES):
        power += np.square(np.abs(np.fft.rfft(kept[start : start + BLOCK_FRAMES] * np.hanning(size)))).sum(axis=0)
    levels = to_db(_bands(power, sample_rate_hz, size) / max(power.max(), 1e-30))
    return levels - levels.mean()


def tilt_db_per_octave(spectrum_db: np.ndarray) -> float:
    """Slope of the straight line through the bands from 200 Hz to 5 kHz; white noise has 0, a voice about -8."""
    inside = (CENTRES_HZ >= TILT_HZ[0]) & (CENTRES_HZ <= TILT_HZ[1])
    octaves = np.log2(CENTRES_HZ[inside])
    centred = octaves - octaves.mean()
    return float(centred @ (spectrum_db[inside] - spectrum_db[inside].mean()) / (centred @ centred))


def _bands(power: np.ndarray, sample_rate_hz: int, size: int) -> np.ndarray:
    """Mean over the bins of each band; a band without a bin takes the nearest."""
    frequencies = np.arange(len(power)) * sample_rate_hz / size
    found = []
    for centre in CENTRES_HZ:
        inside = (frequencies >= centre * 2 ** (-1 / 6)) & (frequencies < centre * 2 ** (1 / 6))
        if not inside.any():
            inside = np.arange(len(power)) == int(np.abs(frequencies - centre).argmin())
        found.append(power[inside].mean())
    return np.array(found)
