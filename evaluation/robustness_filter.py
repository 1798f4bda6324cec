"""A universal filter attack, in the manner of Malafide (Panariello et al. 2023): one filter for every synthetic clip.

The filter is linear, fixed and blind to the sound. It is found from outside, by asking the detector (no gradients), so
that it works on any detector; an attacker with the weights does better, so the loss shown is a lower bound. It is tuned
on some voices and generators' clips and tried on others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.post_processing import convolved

__all__ = ["FilterSearch", "filter_response", "search_filter"]

RATE_HZ = 16_000
SPECTRUM_POINTS, ECHOES, TAPS = 16, 16, 513
SIZE = SPECTRUM_POINTS + 2 * ECHOES
HIGHEST_DB, LOUDEST_ECHO = 12.0, 0.5
Objective = Callable[[Sequence[np.ndarray]], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSearch:
    """``rounds`` of ``population`` trial filters each, on ``clips_s`` seconds of every tuning clip."""

    rounds: int = 8
    population: int = 12
    clip_s: float = 3.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rounds < 1 or self.population < 4 or self.clip_s < 2.0:
            raise ValueError("rounds is at least 1, population at least 4, clip_s at least 2 s")


def filter_response(values: np.ndarray) -> np.ndarray:
    """513 taps (32 ms) from 48 numbers: a smooth gain curve of at most 12 dB, and 16 echoes of at most -6 dB."""
    gains_db = HIGHEST_DB * np.tanh(values[:SPECTRUM_POINTS])
    corners_hz = np.geomspace(80.0, 8_000.0, SPECTRUM_POINTS)
    curve_db = np.interp(np.linspace(0.0, 8_000.0, TAPS), corners_hz, gains_db)
    linear = np.fft.irfft(10.0 ** (curve_db / 20.0), 2 * (TAPS - 1))
    early = np.roll(linear, 64)[:129] * np.hanning(129)
    response = np.zeros(TAPS)
    response[:129] = early
    places = np.linspace(96, TAPS - 142, ECHOES).astype(int)
    levels = LOUDEST_ECHO * np.tanh(values[SPECTRUM_POINTS : SPECTRUM_POINTS + ECHOES])
    offsets = np.round(12 * np.tanh(values[SPECTRUM_POINTS + ECHOES :])).astype(int)
    for place, level in zip(places + offsets, levels, strict=True):
        response[place : place + 129] += level * early
    return response / np.linalg.norm(response)


def search_filter(
    clips: Sequence[np.ndarray], objective: Objective, plan: FilterSearch
) -> tuple[np.ndarray, list[float]]:
    """The response that raises ``objective`` of the filtered clips most, and the best value after each round.

    A cross-entropy search: a Gaussian over the 48 numbers moves to the best quarter of its draws, round by round. The
    plain sound (no filter) is the first draw.
    """
    rng = np.random.default_rng(plan.seed)
    centre, spread = np.zeros(SIZE), np.full(SIZE, 0.7)
    best, best_value, history = centre, -np.inf, []
    short = [clip[: int(plan.clip_s * RATE_HZ)] for clip in clips]
    for number in range(plan.rounds):
        draws = centre + spread * rng.standard_normal((plan.population, SIZE))
        if number == 0:
            draws[0] = 0.0
        values = np.asarray([objective([convolved(clip, filter_response(draw)) for clip in short]) for draw in draws])
        order = np.argsort(-values, kind="stable")
        if values[order[0]] > best_value:
            best, best_value = draws[order[0]], float(values[order[0]])
        elite = draws[order[: max(2, plan.population // 4)]]
        centre = 0.5 * centre + 0.5 * elite.mean(axis=0)
        spread = np.maximum(0.15, 0.7 * spread + 0.3 * elite.std(axis=0))
        history.append(round(best_value, 6))
    return filter_response(best), history
