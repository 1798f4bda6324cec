"""Rooms, narrower bands and noise over training crops: semantic tokens of speech that was recorded less well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Disturbances", "disturbed"]

SAMPLE_RATE_HZ = 16_000
SHORTEST_S = 0.4
"""Shorter crops stay as they are."""
DECAY_S, REFLECTIONS = (0.1, 0.5), (0.02, 0.12)
"""Reverberation time, and the spread of the reflections beside a direct sound of 1."""
CUT_HZ, FALL = (3_000.0, 7_000.0), 0.03
"""Where a band ends, and over which share of the spectrum it falls to 1/e."""
SNR_DB = (5.0, 30.0)
BABBLE = 0.25
"""Share of the noise that is two other rows of the batch, one of them backwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbances:
    """Shares of the rows, each drawn by itself, that get a ``room``, a ``narrow`` band, and ``noise``."""

    room: float = 0.0
    narrow: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("room", "narrow", "noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use a share from 0 to 1")


def disturbed(waves: np.ndarray, samples: Sequence[int], shares: Disturbances, rng: np.random.Generator) -> np.ndarray:
    """Copies of ``waves`` (float32 ``[row, time]`` at 16 kHz) as if heard through rooms, bands and noise.

    ``samples``: how many of each row are sound; what lies beyond stays as it is.
    """
    heard = waves.copy()
    for row, length in zip(heard, samples, strict=True):
        if length < SHORTEST_S * SAMPLE_RATE_HZ:
            continue
        sound = row[:length].astype(np.float64)
        if rng.random() < shares.room:
            sound = in_room(sound, rng)
        if rng.random() < shares.narrow:
            sound = narrowed(sound, rng)
        if rng.random() < shares.noise:
            sound = sound + noise_beside(sound, waves, rng)
        row[:length] = sound
    return heard


def in_room(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``[time]`` after a room's reflections: noise that decays by 60 dB within the reverberation time."""
    length = int(rng.uniform(*DECAY_S) * SAMPLE_RATE_HZ)
    response = rng.standard_normal(length) * 10 ** (-3 * np.arange(length) / length) * rng.uniform(*REFLECTIONS)
    response[0] = 1.0
    size = 1 << (len(sound) + length).bit_length()
    return np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(response, size), size)[: len(sound)]


def narrowed(sound: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """``[time]`` without what lies above a drawn frequency."""
    spectrum = np.fft.rfft(sound)
    first = int(rng.uniform(*CUT_HZ) / SAMPLE_RATE_HZ * len(sound))
    spectrum[first:] *= np.exp(-np.arange(len(spectrum) - first) / (FALL * len(spectrum)))
    return np.fft.irfft(spectrum, len(sound))


def noise_beside(sound: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noise ``[time]`` for ``sound`` at a drawn ratio: other voices, or noise that falls by 0 to 6 dB per octave."""
    length = len(sound)
    if rng.random() < BABBLE:
        first, second = (others[rng.integers(len(others))].astype(np.float64) for _ in range(2))
        noise = (first + second[::-1])[:length]
    else:
        spectrum = np.fft.rfft(rng.standard_normal(length))
        spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** rng.uniform(0, 1)
        noise = np.fft.irfft(spectrum, length)
    loudness = np.sqrt(np.mean(sound**2)) / (np.sqrt(np.mean(noise**2)) + 1e-9)
    return noise * loudness * 10 ** (-rng.uniform(*SNR_DB) / 20)
