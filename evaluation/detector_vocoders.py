"""Further vocoders without a trained network: WORLD, where pyworld is installed.

Each takes and gives float32 ``[time]`` at 16 kHz, same length, and is deterministic given the generator.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

__all__ = ["further_vocoders", "world"]

logger = logging.getLogger(__name__)
RATE_HZ = 16_000


def world(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """WORLD analysis and synthesis (Morise et al. 2016), pitch scaled by 0.9 to 1.12, sometimes a coded envelope."""
    pyworld: Any = importlib.import_module("pyworld")

    signal = samples.astype(np.float64)
    f0_hz, times_s = pyworld.dio(signal, RATE_HZ)
    f0_hz = pyworld.stonemask(signal, f0_hz, times_s, RATE_HZ)
    envelope = pyworld.cheaptrick(signal, f0_hz, times_s, RATE_HZ)
    aperiodicity = pyworld.d4c(signal, f0_hz, times_s, RATE_HZ)
    if rng.random() < 0.5:
        size = (envelope.shape[1] - 1) * 2
        coded = pyworld.code_spectral_envelope(envelope, RATE_HZ, int(rng.integers(24, 61)))
        envelope = pyworld.decode_spectral_envelope(coded, RATE_HZ, size)
    made = pyworld.synthesize(f0_hz * rng.uniform(0.9, 1.12), envelope, aperiodicity, RATE_HZ)
    made = np.pad(made, (0, max(0, signal.size - made.size)))[: signal.size]
    return (made / max(1.0, float(np.abs(made).max()))).astype(np.float32)


def further_vocoders() -> Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]]:
    """By name; WORLD only where pyworld is installed (said in the log where it is not)."""
    if importlib.util.find_spec("pyworld") is None:
        logger.warning("pyworld is not installed, hence no WORLD vocoder in the training data")
        return {}
    return {"world": world}
