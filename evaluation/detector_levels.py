"""Made-up sound brought to the length and the level of the recording it was made from."""

from __future__ import annotations

import numpy as np

__all__ = ["at_level_of"]

TINY = 1e-9


def at_level_of(made: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """``made`` ``[time]`` padded or cut to the length of ``samples`` and scaled to their power; peaks stay within 1."""
    fitted = np.pad(np.asarray(made, np.float64), (0, max(0, samples.size - made.size)))[: samples.size]
    gain = np.sqrt(np.mean(samples.astype(np.float64) ** 2) / (np.mean(fitted**2) + TINY**2))
    scaled = fitted * gain
    return (scaled / max(1.0, float(np.abs(scaled).max()))).astype(np.float32)
