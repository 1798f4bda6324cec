"""Further vocoders without a network of ours: lost phase, WORLD where pyworld is installed, a published HiFi-GAN.

Each takes and gives float32 ``[time]`` at 16 kHz, same length, and is deterministic given the generator.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from evaluation.detector_public import public_vocoders

__all__ = ["further_vocoders", "phase_rebuilt", "world"]

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


def phase_rebuilt(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The exact magnitudes of a short-time transform with phases by Griffin-Lim: nothing is lost but the phase."""
    import torch
    from torchaudio.functional import griffinlim

    size = int(rng.choice([400, 512, 800, 1024]))
    hop, window = size // int(rng.choice([3, 4])), torch.hann_window(size)
    signal = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    magnitude = torch.stft(signal, size, hop, size, window, return_complex=True).abs()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        rounds = int(rng.integers(4, 25))
        made = griffinlim(magnitude, window, size, hop, size, 1.0, rounds, 0.9, signal.numel(), True)
    return made.numpy()


def further_vocoders() -> Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]]:
    """By name; WORLD and HiFi-GAN only where their packages are installed (said in the log where they are not)."""
    named = {"phase_rebuilt": phase_rebuilt, **public_vocoders()}
    if importlib.util.find_spec("pyworld") is None:
        logger.warning("pyworld is not installed, hence no WORLD vocoder in the training data")
        return named
    return {**named, "world": world}
