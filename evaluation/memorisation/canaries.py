"""Canaries: sequences planted in training a known number of times, and how many of them come back.

Source: Carlini et al. 2019 (exposure), 2023 (extraction by a prefix). A canary counts as extracted where the model,
given its start, says at least nine tenths of what follows; exposure is the rank of its likelihood among canaries that
were made alike and never planted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["CurvePoint", "extraction_curve", "make_canaries"]

EXTRACTED = 0.9


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Canaries planted ``repetitions`` times: mean share of tokens said right, share extracted with its exact upper
    bound (one-sided 95 %), mean exposure in bit (at most ``log2`` of the number of unplanted ones plus one)."""

    repetitions: int
    n_canaries: int
    matched: float
    extracted: float
    extracted_upper: float
    exposure_bit: float


def make_canaries(
    count: int, length: int, background: Sequence[np.ndarray], generator: np.random.Generator
) -> list[np.ndarray]:
    """Token sequences that no recording holds but that move like speech: drawn from the background's own pairs.

    Int64 ``[length]`` each; the next token follows the frequencies after the present one.
    """
    followers: dict[int, list[int]] = {}
    for sequence in background:
        for one, two in zip(sequence[:-1].tolist(), sequence[1:].tolist(), strict=True):
            followers.setdefault(one, []).append(two)
    starts = sorted(followers)
    made = []
    for _ in range(count):
        tokens = [starts[int(generator.integers(len(starts)))]]
        while len(tokens) < length:
            nexts = followers.get(tokens[-1]) or starts
            tokens.append(nexts[int(generator.integers(len(nexts)))])
        made.append(np.array(tokens, dtype=np.int64))
    return made


def extraction_curve(
    planted: Sequence[tuple[np.ndarray, int]],
    unplanted: Sequence[np.ndarray],
    *,
    prefix: int,
    go_on: Callable[[np.ndarray, int], np.ndarray],
    nats: Callable[[np.ndarray], float],
) -> list[CurvePoint]:
    """One point per number of repetitions, 0 first (the unplanted ones, each against the others).

    ``planted``: canaries with their repetitions; ``go_on(start, count)`` gives the model's likeliest tokens, ``nats``
    the canary's minus log-probability.

    Raises:
        ValueError: no unplanted canary to compare with, or a canary no longer than the prefix.
    """
    everything = [*planted, *((canary, 0) for canary in unplanted)]
    if not unplanted or any(len(canary) <= prefix for canary, _ in everything):
        raise ValueError(f"give at least one unplanted canary, and canaries longer than the prefix of {prefix}")
    scores = [nats(canary) for canary in unplanted]
    by_count: dict[int, list[tuple[float, float]]] = {}
    for place, (canary, count) in enumerate(everything):
        said = go_on(canary[:prefix], len(canary) - prefix)
        share = float(np.mean(np.asarray(said) == canary[prefix:]))
        others = scores if count else [s for i, s in enumerate(scores) if i != place - len(planted)]
        rank = 1 + sum(other < nats(canary) for other in others)
        exposure = math.log2(len(others) + 1) - math.log2(rank)
        by_count.setdefault(count, []).append((share, exposure))
    return [_point(count, found) for count, found in sorted(by_count.items())]


def _point(count: int, found: Sequence[tuple[float, float]]) -> CurvePoint:
    shares = np.array([share for share, _ in found])
    hits, n = int((shares >= EXTRACTED).sum()), len(found)
    upper = 1.0 if hits == n else float(stats.beta.ppf(0.95, hits + 1, n - hits))
    return CurvePoint(count, n, float(shares.mean()), hits / n, upper, float(np.mean([e for _, e in found])))
