"""Further vocoders without a trained network: WORLD, where pyworld is installed, and mel spectra with kept phase.

Each takes and gives float32 ``[time]`` at 16 kHz, same length, and is deterministic given the generator.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Mapping

import numpy as np

__all__ = ["further_vocoders", "mel_with_phase", "world"]

logger = logging.getLogger(__name__)
RATE_HZ = 16_000


def mel_with_phase(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Magnitudes back from a mel spectrogram, phases of the recording, blurred more the higher the frequency.

    What a good neural vocoder leaves: the mel spectrum is right, harmonics and noise between its bands are not.
    """
    import torch
    import torchaudio

    signal = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    bands, hop = int(rng.choice([64, 80, 100])), int(rng.choice([128, 160, 200, 256]))
    filters = torchaudio.functional.melscale_fbanks(513, 0.0, 8_000.0, bands, RATE_HZ)  # [bin, band]
    window = torch.hann_window(1024)
    spectrum = torch.stft(signal, 1024, hop, 1024, window, return_complex=True)
    magnitude = (torch.linalg.pinv(filters.T) @ (filters.T @ spectrum.abs())).clamp_min(1e-6)
    keep = float(rng.uniform(0.0, 0.5))
    magnitude = magnitude ** (1.0 - keep) * spectrum.abs().clamp_min(1e-6) ** keep
    onset_hz, most = float(rng.uniform(500.0, 4_000.0)), float(rng.uniform(0.5, 3.0))
    blur = most * np.clip((np.linspace(0.0, 8_000.0, 513) - onset_hz) / 4_000.0, 0.0, 1.0)
    noise = rng.standard_normal(tuple(magnitude.shape)) * blur[:, None]
    angle = spectrum.angle() + torch.from_numpy(noise.astype(np.float32))
    return torch.istft(torch.polar(magnitude, angle), 1024, hop, 1024, window, length=signal.numel()).numpy()


def world(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """WORLD analysis and synthesis (Morise et al. 2016), pitch scaled by 0.9 to 1.12, sometimes a coded envelope."""
    import pyworld

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
    found = {"mel_with_phase": mel_with_phase}
    if importlib.util.find_spec("pyworld") is None:
        logger.warning("pyworld is not installed, hence no WORLD vocoder in the training data")
        return found
    return {**found, "world": world}
