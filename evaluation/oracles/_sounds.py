"""Sounds with known properties for oracles: a voice-like tone with pauses, noise, a clip with its prompt."""

from __future__ import annotations

import numpy as np

from audiolm.audio import AudioClip
from evaluation.metrics import Metric, Noted, ScoreInput, Skipped

__all__ = ["RATE_HZ", "clip_of", "value_of", "voice"]

RATE_HZ = 16_000


def voice(f0_hz: float = 120.0, *, seconds: float = 3.0, noise: float = 1e-3, gain: float = 1.0) -> np.ndarray:
    """Harmonics of ``f0_hz`` in bursts of 0.7 s with pauses of 0.3 s, over white noise: float32 ``[time]``."""
    time = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    tone = np.sum([np.sin(2 * np.pi * f0_hz * k * time + k) / k for k in range(1, 20)], axis=0) * ((time % 1.0) < 0.7)
    return (gain * (0.05 * tone + noise * np.random.default_rng(0).standard_normal(len(time)))).astype(np.float32)


def clip_of(samples: np.ndarray) -> AudioClip:
    return AudioClip.from_array(samples.astype(np.float32), RATE_HZ)


def value_of(
    metric: Metric, measure: str, samples: np.ndarray, *, prompt: np.ndarray | None = None,
    recording: np.ndarray | None = None,
) -> float:  # fmt: skip
    """What a scorer gives for one measure of one clip; NaN where it gives none."""
    item = ScoreInput(
        item_id="oracle", role="continuation", clip=clip_of(samples),
        prompt=None if prompt is None else clip_of(prompt),
        recording=None if recording is None else clip_of(recording),
    )  # fmt: skip
    (outcome,) = metric.load("cpu")([item])
    if isinstance(outcome, Skipped):
        return float("nan")
    value = (outcome.values if isinstance(outcome, Noted) else outcome)[measure]
    return float("nan") if isinstance(value, Skipped) else float(value)
