"""Butterworth filters by their edges, designed once, and how they run over a clip.

The design costs more than filtering a short clip. Filtering itself is compiled where numba is installed (openai-whisper
brings it) and scipy's elsewhere; the values are the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from types import ModuleType

import numpy as np
from scipy.signal import butter, sosfilt, sosfilt_zi, sosfiltfilt

__all__ = ["butterworth", "compiled_loops", "filtered", "filtered_bank", "filtered_both_ways"]


def butterworth(order: int, edges_hz: float | tuple[float, float], kind: str, sample_rate_hz: int) -> np.ndarray:
    """Second-order sections float64 ``[section, 6]`` of a ``lowpass``, ``highpass`` or ``bandpass``."""
    return _designed(order, edges_hz, kind, sample_rate_hz).copy()


@lru_cache(maxsize=32)
def _designed(order: int, edges_hz: float | tuple[float, float], kind: str, sample_rate_hz: int) -> np.ndarray:
    return np.asarray(butter(order, edges_hz, kind, fs=sample_rate_hz, output="sos"), dtype=np.float64)


@cache
def compiled_loops() -> ModuleType | None:
    """The compiled loops; None where numba is missing or does not go with this numpy."""
    try:
        from evaluation.acoustics import compiled
    except ImportError:
        return None
    return compiled


def filtered(sections: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """``samples [time]`` through ``sections [section, 6]`` from rest, float64 ``[time]``."""
    loops = compiled_loops()
    if loops is None:
        return np.asarray(sosfilt(sections, samples))
    return _cascade(loops, sections, samples, np.zeros((len(sections), 2)))


def filtered_bank(bank: Sequence[np.ndarray], samples: np.ndarray) -> Iterator[np.ndarray]:
    """The same samples through several filters of two sections each, one result after the other."""
    loops = compiled_loops()
    together = len(bank) - len(bank) % 2 if loops else 0
    for start in range(0, together, 2):
        out = np.empty((2, len(samples)))
        if loops is not None:
            loops.bank_of_two(np.stack(bank[start : start + 2]), np.ascontiguousarray(samples, dtype=np.float64), out)
        yield from out
    for sections in bank[together:]:
        yield filtered(sections, samples)


def filtered_both_ways(sections: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Forward and backward, without delay, float64 ``[time]``: what scipy's sosfiltfilt gives with its defaults."""
    loops = compiled_loops()
    edge = 3 * (2 * len(sections) + 1 - min(int((sections[:, 2] == 0).sum()), int((sections[:, 5] == 0).sum())))
    if loops is None or len(samples) <= edge:
        return np.asarray(sosfiltfilt(sections, samples))  # says so itself where a clip is too short
    start, end = 2.0 * samples[0] - samples[edge:0:-1], 2.0 * samples[-1] - samples[-2 : -edge - 2 : -1]
    longer = np.concatenate([start, samples, end])
    rest = sosfilt_zi(sections)
    once = _cascade(loops, sections, longer, rest * longer[0])
    twice = _cascade(loops, sections, once[::-1], rest * once[-1])
    return twice[::-1][edge:-edge]


def _cascade(loops: ModuleType, sections: np.ndarray, samples: np.ndarray, state: np.ndarray) -> np.ndarray:
    out = np.empty(len(samples))
    loops.cascade(sections, np.ascontiguousarray(samples, dtype=np.float64), state, out)
    return out
