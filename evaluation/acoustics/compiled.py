"""Compiled inner loops (numba, no C compiler): recursive filters and YIN's difference function.

Each does what the numpy and scipy lines beside its caller do, in the same order and without fused operations, so the
values are equal to the last bit with and without numba (tested). Sections of a filter, and filters of a bank, advance
together: each waits for its own last value, so a second one costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

__all__ = ["bank_of_two", "cascade", "differences"]


def compiled(function: Callable[..., None]) -> Any:
    """Compiled at its first call, kept on disk for the next process where a folder can be written."""
    for cache in (True, False):
        try:
            return numba.njit(function, nogil=True, cache=cache, error_model="numpy")
        except RuntimeError:
            if not cache:
                raise
    return function


@compiled
def cascade(sections: np.ndarray, samples: np.ndarray, state: np.ndarray, out: np.ndarray) -> None:
    """``sections [section, 6]`` one after the other, two at a time, from ``state [section, 2]``; as scipy's sosfilt."""
    count = sections.shape[0]
    for s in range(0, count - 1, 2):
        b0, b1, b2, a1, a2 = sections[s, 0], sections[s, 1], sections[s, 2], sections[s, 4], sections[s, 5]
        d0, d1, d2 = sections[s + 1, 0], sections[s + 1, 1], sections[s + 1, 2]
        c1, c2 = sections[s + 1, 4], sections[s + 1, 5]
        y0, y1, z0, z1 = state[s, 0], state[s, 1], state[s + 1, 0], state[s + 1, 1]
        for n in range(samples.shape[0]):
            here = samples[n] if s == 0 else out[n]
            middle = b0 * here + y0
            y0 = b1 * here - a1 * middle + y1
            y1 = b2 * here - a2 * middle
            last = d0 * middle + z0
            z0 = d1 * middle - c1 * last + z1
            z1 = d2 * middle - c2 * last
            out[n] = last
    if count % 2:
        s = count - 1
        b0, b1, b2, a1, a2 = sections[s, 0], sections[s, 1], sections[s, 2], sections[s, 4], sections[s, 5]
        y0, y1 = state[s, 0], state[s, 1]
        for n in range(samples.shape[0]):
            here = samples[n] if s == 0 else out[n]
            last = b0 * here + y0
            y0 = b1 * here - a1 * last + y1
            y1 = b2 * here - a2 * last
            out[n] = last


@compiled
def bank_of_two(bank: np.ndarray, samples: np.ndarray, out: np.ndarray) -> None:
    """Two filters of two sections, ``bank [2, 2, 6]``, over the same samples from rest, into ``out [2, time]``."""
    b0, b1, b2, a1, a2 = bank[0, 0, 0], bank[0, 0, 1], bank[0, 0, 2], bank[0, 0, 4], bank[0, 0, 5]
    d0, d1, d2, c1, c2 = bank[0, 1, 0], bank[0, 1, 1], bank[0, 1, 2], bank[0, 1, 4], bank[0, 1, 5]
    f0, f1, f2, e1, e2 = bank[1, 0, 0], bank[1, 0, 1], bank[1, 0, 2], bank[1, 0, 4], bank[1, 0, 5]
    h0, h1, h2, g1, g2 = bank[1, 1, 0], bank[1, 1, 1], bank[1, 1, 2], bank[1, 1, 4], bank[1, 1, 5]
    w0 = w1 = x0 = x1 = y0 = y1 = z0 = z1 = 0.0
    for n in range(samples.shape[0]):
        here = samples[n]
        middle = b0 * here + w0
        w0 = b1 * here - a1 * middle + w1
        w1 = b2 * here - a2 * middle
        last = d0 * middle + x0
        x0 = d1 * middle - c1 * last + x1
        x1 = d2 * middle - c2 * last
        out[0, n] = last
        middle = f0 * here + y0
        y0 = f1 * here - e1 * middle + y1
        y1 = f2 * here - e2 * middle
        last = h0 * middle + z0
        z0 = h1 * middle - g1 * last + z1
        z1 = h2 * middle - g2 * last
        out[1, n] = last


@compiled
def differences(cross: np.ndarray, energies: np.ndarray, raw: np.ndarray, normalised: np.ndarray) -> None:
    """YIN's steps 2 and 3 from the cross term and the windows' energies, all ``[frame, lag]``."""
    frames, lags = raw.shape
    for f in range(frames):
        first = energies[f, 0]
        raw[f, 0] = max(first + first - 2.0 * cross[f, 0], 0.0)
        normalised[f, 0] = 1.0
        running = 0.0
        for lag in range(1, lags):
            here = max(first + energies[f, lag] - 2.0 * cross[f, lag], 0.0)
            raw[f, lag] = here
            running += here
            normalised[f, lag] = here * lag / max(running, 1e-20)
