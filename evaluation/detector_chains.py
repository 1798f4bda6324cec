"""A published vocoder that says what another model made: speech of text-to-speech systems comes about so."""

from __future__ import annotations

import numpy as np

from evaluation.detector_harmonics import harmonics_drawn
from evaluation.detector_public import hifigan
from evaluation.detector_tokens import tokens_drawn

__all__ = ["hifigan_chained"]

OF_HARMONICS = 0.7


def hifigan_chained(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Float32 ``[time]`` at 16 kHz: drawn harmonics, or drawn tokens of our codec, said again by HiFi-GAN."""
    make = harmonics_drawn if rng.random() < OF_HARMONICS else tokens_drawn
    return hifigan(make(samples, rng), rng)
