"""Butterworth filters by their edges, designed once: the design costs more than filtering a short clip."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.signal import butter

__all__ = ["butterworth"]


def butterworth(order: int, edges_hz: float | tuple[float, float], kind: str, sample_rate_hz: int) -> np.ndarray:
    """Second-order sections float64 ``[section, 6]`` of a ``lowpass``, ``highpass`` or ``bandpass``."""
    return _designed(order, edges_hz, kind, sample_rate_hz).copy()


@lru_cache(maxsize=32)
def _designed(order: int, edges_hz: float | tuple[float, float], kind: str, sample_rate_hz: int) -> np.ndarray:
    return np.asarray(butter(order, edges_hz, kind, fs=sample_rate_hz, output="sos"), dtype=np.float64)
