"""A published vocoder that says what another model made: speech of text-to-speech systems comes about so."""

from __future__ import annotations

import numpy as np

from evaluation.detector_harmonics import harmonics_drawn
from evaluation.detector_public import hifigan
from evaluation.detector_rules import rules_drawn
from evaluation.detector_tokens import tokens_drawn

__all__ = ["hifigan_chained"]

CHANCE = {rules_drawn: 0.65, harmonics_drawn: 0.25, tokens_drawn: 0.1}
"""Of what is said again, as the shipped detector heard it."""


def hifigan_chained(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Float32 ``[time]`` at 16 kHz: drawn harmonics, rules, or tokens of our codec, said again by HiFi-GAN."""
    makers = list(CHANCE)
    make = makers[int(rng.choice(len(makers), p=list(CHANCE.values())))]
    return hifigan(make(samples, rng), rng)
