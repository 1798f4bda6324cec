"""Pitch classes and note onsets of music: what key and how busy it is, without any model.

Tuning is taken to be A = 440 Hz. Chroma as in Muller (2015, section 3.1.2), from partials between 110 and 3,520 Hz;
onsets as peaks of the spectral flux (Bello et al. 2005; Bock et al. 2012 for the peak rule).
"""

from __future__ import annotations

import numpy as np
from scipy.signal import stft

__all__ = ["mean_chroma", "onset_times_s"]

LOW_HZ, HIGH_HZ, REFERENCE_HZ = 110.0, 3_520.0, 440.0
CHROMA_WINDOW_S, CHROMA_HOP_S = 0.256, 0.064
COMPRESSION = 100.0
"""Pitch-class energy relative to the clip's loudest is compressed as log(1 + 100 x)."""
PITCH_WIDTH_SEMITONES = 0.35
SILENCE_POWER = 1e-10

FLUX_WINDOW_S, FLUX_HOP_S = 0.046, 0.010
FLUX_BANDS_PER_OCTAVE, FLUX_LOW_HZ = 6, 55.0
FLUX_LAG = 3
"""Frames between the two spectra that are compared (30 ms): a hammer's attack is slower than one hop."""
PEAK_REACH, MEAN_REACH, MIN_GAP_S = 4, 15, 0.05
MIN_RISE = 0.35
"""How far a peak must rise above its surroundings, in mean nepers per band."""


def mean_chroma(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray | None:
    """Mean share of the twelve pitch classes, C first, of unit length: float64 ``[12]``; None for silence."""
    power, frequencies = _power(samples, sample_rate_hz, CHROMA_WINDOW_S, CHROMA_HOP_S)
    energy = _pitch_classes(frequencies) @ power  # [12, frame]
    loudest = energy.max(initial=0.0)
    if loudest < SILENCE_POWER:
        return None
    chroma = np.log1p(COMPRESSION * energy / loudest).mean(axis=1)
    return chroma / np.linalg.norm(chroma)


def onset_times_s(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """When notes begin, in seconds, ascending: peaks of the mean rise of log energy in half-octave thirds."""
    power, frequencies = _power(samples, sample_rate_hz, FLUX_WINDOW_S, FLUX_HOP_S)
    energy = _bands(frequencies) @ power
    loudest = energy.max(initial=0.0)
    if loudest < SILENCE_POWER or energy.shape[1] <= 2 * FLUX_LAG:
        return np.zeros(0)
    log_energy = np.log(energy + 1e-4 * loudest)
    rise = np.zeros(energy.shape[1])
    rise[FLUX_LAG:] = np.maximum(log_energy[:, FLUX_LAG:] - log_energy[:, :-FLUX_LAG], 0.0).mean(axis=0)
    return _peaks(rise) * FLUX_HOP_S


def _peaks(rise: np.ndarray) -> np.ndarray:
    """Frames that are the largest around them and stand out of the local mean, at least ``MIN_GAP_S`` apart."""
    padded = np.pad(rise, MEAN_REACH)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * MEAN_REACH + 1)
    near = windows[:, MEAN_REACH - PEAK_REACH : MEAN_REACH + PEAK_REACH + 1]
    chosen = np.flatnonzero((rise == near.max(axis=1)) & (rise >= windows.mean(axis=1) + MIN_RISE))
    kept: list[int] = []
    for frame in chosen:
        if not kept or (frame - kept[-1]) * FLUX_HOP_S >= MIN_GAP_S:
            kept.append(int(frame))
    return np.array(kept, dtype=np.int64)


def _power(samples: np.ndarray, sample_rate_hz: int, window_s: float, hop_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Power spectra ``[bin, frame]``, frame ``i`` centred at ``i * hop_s``, and the bins' frequencies in Hz."""
    window, hop = round(window_s * sample_rate_hz), round(hop_s * sample_rate_hz)
    frequencies, _, spectrum = stft(
        samples.astype(np.float64), sample_rate_hz, nperseg=window, noverlap=window - hop, boundary="zeros"
    )
    return np.abs(spectrum) ** 2, frequencies


def _pitch_classes(frequencies: np.ndarray) -> np.ndarray:
    """How much each bin counts for each pitch class, ``[12, bin]``."""
    inside = (frequencies >= LOW_HZ) & (frequencies <= HIGH_HZ)
    semitones = 12 * np.log2(np.where(inside, frequencies, REFERENCE_HZ) / REFERENCE_HZ) + 9  # A is class 9
    apart = (semitones - np.arange(12)[:, None] + 6) % 12 - 6
    return np.exp(-0.5 * (apart / PITCH_WIDTH_SEMITONES) ** 2) * inside


def _bands(frequencies: np.ndarray) -> np.ndarray:
    """Rectangular bands of equal width in octaves, ``[band, bin]``; bands narrower than a bin are left out."""
    octaves = np.log2(np.maximum(frequencies, 1e-3) / FLUX_LOW_HZ)
    count = int(FLUX_BANDS_PER_OCTAVE * octaves.max())
    band = np.floor(FLUX_BANDS_PER_OCTAVE * octaves)
    rows = (band == np.arange(count)[:, None]).astype(np.float64)
    return rows[rows.sum(axis=1) > 0]
