"""Sampling beyond one window: sliding for the semantic and coarse stage, separate blocks for the fine stage.

Where a row's windows and blocks lie depends on that row's own lengths only, so a row is drawn alike in any batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from audiolm.sampling import StageSampling
from audiolm.stages import Stage
from audiolm.tokens import FRAMES_PER_SEMANTIC, deduplicate

__all__ = ["row_generator", "sample_blocks", "sample_sliding"]

ROWS_AT_ONCE = 32
"""Rows of one pass through a stage; bounds the memory of its key/value cache."""


def row_generator(seed: int, *place: int) -> torch.Generator:
    """The random stream of one item (``seed``) at one place of the pipeline (stage, block)."""
    state = np.random.SeedSequence([seed % 2**64, *place]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


def sample_sliding(
    stage: Stage,
    conditions: Sequence[np.ndarray],
    known: Sequence[np.ndarray],
    frames: Sequence[int],
    options: StageSampling,
    generators: Sequence[torch.Generator],
) -> list[np.ndarray]:
    """Continue each ``known[i]`` ``[level, frame]`` by ``frames[i]`` frames; gives the new ones only.

    ``conditions``: semantic tokens ``[frame]``, one per 40 ms over known and new frames (coarse stage); empty for
    the semantic stage. When the window is full, its later half becomes the prefix of the next one.
    """
    targets = [np.asarray(row, dtype=np.int64) for row in known]
    totals = [row.shape[1] + count for row, count in zip(targets, frames, strict=True)]
    waiting = [i for i in range(len(targets)) if targets[i].shape[1] < totals[i]]
    while waiting:
        group = sorted(waiting, key=lambda i: (totals[i] - targets[i].shape[1], i))[:ROWS_AT_ONCE]
        plans = [_plan(stage, targets[i], conditions[i], totals[i]) for i in group]
        drawn = stage.sample(
            [plan[0] for plan in plans],
            [plan[1] for plan in plans],
            [plan[2] for plan in plans],
            options,
            [generators[i] for i in group],
        )
        for i, new in zip(group, drawn, strict=True):
            targets[i] = np.concatenate([targets[i], new], axis=1)
        waiting = [i for i in waiting if targets[i].shape[1] < totals[i]]
    return [row[:, row.shape[1] - count :] for row, count in zip(targets, frames, strict=True)]


def _plan(stage: Stage, target: np.ndarray, condition: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Condition, known part and number of new frames of a row's next window."""
    window = stage.config.window
    done = target.shape[1]
    start = max(0, done - window // 2)
    if stage.config.layout.kind == "coarse":
        start -= start % FRAMES_PER_SEMANTIC
    end = min(start + window, total)
    if stage.config.layout.kind == "coarse":
        condition = condition[start // FRAMES_PER_SEMANTIC : -(-end // FRAMES_PER_SEMANTIC)]
        if stage.config.deduplicate:
            condition = deduplicate(condition).tokens
    return condition, target[:, start:], end - done


def sample_blocks(
    stage: Stage,
    coarse: Sequence[np.ndarray],
    options: StageSampling,
    seeds: Sequence[int],
    place: int,
) -> list[np.ndarray]:
    """Fine codes ``[level, frame]`` of each ``coarse[i]`` ``[level, frame]``, in blocks of the stage's window.

    The blocks of all rows travel together (AudioLM, section III-C: fine levels depend on local coarse levels only).
    """
    window = stage.config.window
    levels = stage.config.layout.target_levels
    blocks = [(i, at) for i, row in enumerate(coarse) for at in range(0, row.shape[1], window)]
    blocks.sort(key=lambda block: (-min(window, coarse[block[0]].shape[1] - block[1]), block))
    fine = [np.zeros((levels, row.shape[1]), dtype=np.int64) for row in coarse]
    for first in range(0, len(blocks), ROWS_AT_ONCE):
        group = blocks[first : first + ROWS_AT_ONCE]
        pieces = [coarse[i][:, at : at + window] for i, at in group]
        empty = np.zeros((levels, 0), dtype=np.int64)
        generators = [row_generator(seeds[i], place, at // window) for i, at in group]
        counts = [piece.shape[1] for piece in pieces]
        drawn = stage.sample(pieces, [empty] * len(group), counts, options, generators)
        for (i, at), codes in zip(group, drawn, strict=True):
            fine[i][:, at : at + window] = codes
    return fine
