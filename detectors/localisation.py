"""Where in a recording generated speech begins and ends, from the scores of short overlapping windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Segment", "find_segments", "seams"]

SWITCH_COST_NATS = 1.5
"""Evidence, in nats, that a change of the speaker's nature has to bring."""
LONGEST_GAP_S = 1.5
AROUND_S, REACH_S, STEP_S = 2.5, 1.0, 0.05
"""A seam is placed by the windows within ``AROUND_S``, at most ``REACH_S`` away from where the path changed."""
BONA_FIDE, SYNTHETIC = "bona fide", "synthetic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch that looks alike. ``llr``: mean over its windows in nats; ``label``: ``bona fide`` or ``synthetic``."""

    start_s: float
    end_s: float
    label: str
    llr: float


def find_segments(frames: Sequence[tuple[float, float, float]], threshold_llr: float) -> list[Segment]:
    """The most likely alternation of bona fide and generated speech.

    ``frames``: ``(start_s, end_s, llr)`` of windows in time order, which may overlap. Each window counts by the share
    of it that is new; a change costs ``SWITCH_COST_NATS``. The path is found by dynamic programming over two states
    (Viterbi). A window across a boundary is a mixture of both sides by its share of each: the boundary lies where
    such mixtures of two levels come closest to the windows around it. Where windows are missing for long (a pause), a
    segment ends and the next begins.
    """
    if not frames:
        return []
    starts, ends, llrs = (np.asarray(column, dtype=np.float64) for column in zip(*frames, strict=True))
    states = _path(llrs - threshold_llr, _new_share(starts, ends))
    changes = np.flatnonzero(np.diff(states)) + 1
    sides = np.concatenate([[0], changes, [len(frames)]])
    places = {
        int(index): _place(starts, ends, llrs, (int(sides[k]), int(index), int(sides[k + 2])))
        for k, index in enumerate(changes)
    }
    runs: list[Segment] = []
    first = 0
    for index in range(1, len(frames) + 1):
        last = index == len(frames)
        pause = not last and starts[index] - ends[index - 1] > LONGEST_GAP_S
        if not last and not pause and states[index] == states[index - 1]:
            continue
        joined = runs and first > 0 and starts[first] - ends[first - 1] <= LONGEST_GAP_S
        start_s = places.get(first, float(starts[first])) if joined else starts[first]
        end_s = ends[index - 1] if last or pause else places[index]
        label = SYNTHETIC if states[first] else BONA_FIDE
        runs.append(
            Segment(
                start_s=round(float(start_s), 3),
                end_s=round(float(end_s), 3),
                label=label,
                llr=float(llrs[first:index].mean()),
            )
        )
        first = index
    return runs


def _place(starts: np.ndarray, ends: np.ndarray, llrs: np.ndarray, run: tuple[int, int, int]) -> float:
    """Where within windows ``run[0]`` to ``run[2]`` the level changes, near the change of the path at ``run[1]``."""
    first, index, past = run
    centres = (starts + ends) / 2
    guess = float(centres[index] + centres[index - 1]) / 2
    near = np.arange(first, past)
    near = near[(ends[near] > guess - AROUND_S) & (starts[near] < guess + AROUND_S)]
    if near.size < 4 or starts[index] >= ends[index - 1]:
        return guess
    begin, end, llr = starts[near], ends[near], llrs[near]
    lowest = max(guess - REACH_S, float(centres[near[0]]))
    highest = min(guess + REACH_S, float(centres[near[-1]]))
    best, place = np.inf, guess
    for candidate in np.sort(np.arange(lowest, highest + 1e-9, STEP_S)):
        before = np.clip((candidate - begin) / (end - begin), 0.0, 1.0)
        sides = np.stack([before, 1.0 - before], axis=1)
        levels = np.linalg.lstsq(sides, llr, rcond=None)[0]
        error = float(np.sum((llr - sides @ levels) ** 2))
        if error < best - 1e-9:
            best, place = error, float(candidate)
    return place


def seams(segments: Sequence[Segment]) -> list[float]:
    """Times in seconds at which one kind of speech passes into the other."""
    return [
        later.start_s
        for earlier, later in zip(segments, segments[1:], strict=False)
        if earlier.label != later.label and later.start_s - earlier.end_s <= LONGEST_GAP_S
    ]


def _new_share(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Share of each window that the one before it did not cover."""
    new = np.ones(starts.size)
    if starts.size > 1:
        new[1:] = np.clip((ends[1:] - np.maximum(starts[1:], ends[:-1])) / (ends[1:] - starts[1:]), 0.0, 1.0)
    return new


def _path(evidence: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """1 where generated; ``evidence``: nats in favour of bona fide per window."""
    gain = np.stack([evidence * weight / 2, -evidence * weight / 2])
    best = gain[:, 0].copy()
    came_from = np.zeros(gain.shape, dtype=np.int64)
    for index in range(1, gain.shape[1]):
        for state in (0, 1):
            stay, change = best[state], best[1 - state] - SWITCH_COST_NATS
            came_from[state, index] = state if stay >= change else 1 - state
        origin = came_from[:, index]
        best = best[origin] - SWITCH_COST_NATS * (origin != np.arange(2)) + gain[:, index]
    path = np.zeros(gain.shape[1], dtype=np.int64)
    path[-1] = int(best[1] > best[0])
    for index in range(gain.shape[1] - 1, 0, -1):
        path[index - 1] = came_from[path[index], index]
    return path
