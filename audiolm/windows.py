"""Sampling beyond one window: sliding for the stages and the other decoders, separate blocks for the fine one.

Where a row's windows and blocks lie depends on that row's own lengths only, so a row is drawn alike in any batch, and
in several goes as in one::

    frames   |-- known --|------------------ to draw ------------------|
    window 1      |=======================|
    window 2                  |=======================|     its first half is the end of window 1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from audiolm.delayed import DelayedStage
from audiolm.parallel import ParallelStage
from audiolm.prompt_recall import Prompt
from audiolm.sampling import Pauses, SamplingOptions, StageSampling
from audiolm.stages import Stage
from audiolm.tokens import FRAMES_PER_SEMANTIC, deduplicate

__all__ = ["Sliding", "Windowed", "autoregressive", "row_generator", "sample_blocks", "whole_windows"]

ROWS_AT_ONCE = 32
"""Rows of one pass through a stage; bounds the memory of its key/value cache."""

Draw = Callable[
    [Sequence[np.ndarray], Sequence[np.ndarray], Sequence[int], Sequence[torch.Generator], bool, Sequence[Prompt]],
    list[np.ndarray],
]


def row_generator(seed: int, *place: int) -> torch.Generator:
    """The random stream of one item (``seed``) at one place of the pipeline (stage, block)."""
    state = np.random.SeedSequence([seed % 2**64, *place]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Windowed:
    """A stage as sliding windows see it.

    ``draw``: (conditions, known, frames, generators, may_end, prompts) to new codes ``[level, frame]``;
    ``conditioned``: it has semantic tokens of the same moments; ``whole``: a window is drawn in one go or not at all;
    ``end_code``: what stands for the end where ``may_end`` is set, None for a stage that knows no end.
    """

    draw: Draw
    window: int
    conditioned: bool
    deduplicate: bool = False
    whole: bool = False
    end_code: int | None = None


def autoregressive(stage: Stage, options: StageSampling, pauses: Pauses | None = None) -> Windowed:
    """The semantic (with a limit of its pauses) or coarse stage, code after code."""
    layout = stage.config.layout

    def draw(
        conditions: Sequence[np.ndarray],
        known: Sequence[np.ndarray],
        frames: Sequence[int],
        generators: Sequence[torch.Generator],
        may_end: bool,
        _prompts: Sequence[Prompt],
    ) -> list[np.ndarray]:
        return stage.sample(conditions, known, frames, options, generators, may_end=may_end, pauses=pauses)

    semantic = layout.kind == "semantic"
    return Windowed(
        draw=draw,
        window=stage.config.window,
        conditioned=not semantic,
        deduplicate=stage.config.deduplicate,
        end_code=layout.n_semantic if semantic else None,
    )


def whole_windows(stage: ParallelStage | DelayedStage, options: SamplingOptions) -> Windowed:
    """All acoustic levels of a window in one go, by masked decoding or a frame per step."""

    def draw(
        conditions: Sequence[np.ndarray],
        known: Sequence[np.ndarray],
        frames: Sequence[int],
        generators: Sequence[torch.Generator],
        _may_end: bool,
        prompts: Sequence[Prompt],
    ) -> list[np.ndarray]:
        if isinstance(stage, DelayedStage):
            return stage.sample(conditions, known, frames, options, generators, prompts)
        return stage.sample(conditions, known, frames, options, generators)

    return Windowed(draw=draw, window=stage.config.window, conditioned=True, whole=True)


class Sliding:
    """Rows on their way through a stage's windows: ``targets[i]`` ``[level, frame]`` grows from what was known to
    ``totals[i]`` frames. When a window is full, its later half is the prefix of the next one."""

    def __init__(
        self,
        stage: Windowed,
        known: Sequence[np.ndarray],
        frames: Sequence[int],
        generators: Sequence[torch.Generator],
    ) -> None:
        self.stage = stage
        self.targets = [np.asarray(row, dtype=np.int64) for row in known]
        self.known = [row.shape[1] for row in self.targets]
        self.totals = [before + count for before, count in zip(self.known, frames, strict=True)]
        self.ended = [False] * len(self.targets)
        self._generators = list(generators)
        self._spans = [(0, 0)] * len(self.targets)

    @property
    def new(self) -> list[np.ndarray]:
        """What was drawn so far, ``[level, frame]`` per row."""
        return [row[:, before:] for row, before in zip(self.targets, self.known, strict=True)]

    def reach(self, row: int, goal: int) -> int:
        """End of the window in which ``row`` gets its frame ``goal - 1``: how far its condition has to go."""
        done, span = self.targets[row].shape[1], self._spans[row]
        while done < min(goal, self.totals[row]):
            span = self._span(row, done, span)
            done = span[1]
        return span[1]

    def advance(self, conditions: Sequence[np.ndarray], goals: Sequence[int], *, may_end: bool = False) -> None:
        """Draw until each row has its goal's frames, or a whole window more where the stage knows nothing less.

        ``conditions``: semantic tokens, one per 40 ms over known and new frames, as far as :meth:`reach` says; empty
        for a stage without. ``may_end``: a row may end before its goal; its total is then what it has.
        """
        while True:
            short = [i for i, row in enumerate(self.targets) if row.shape[1] < min(goals[i], self.totals[i])]
            if not short:
                return
            counts: dict[int, int] = {}
            for i in short:
                done = self.targets[i].shape[1]
                self._spans[i] = self._span(i, done, self._spans[i])
                end = self._spans[i][1]
                counts[i] = (end if self.stage.whole else min(end, goals[i])) - done
            group = sorted(short, key=lambda i: (counts[i], i))[:ROWS_AT_ONCE]
            drawn = self.stage.draw(
                [self._condition(i, conditions[i]) for i in group],
                [self.targets[i][:, self._spans[i][0] :] for i in group],
                [counts[i] for i in group],
                [self._generators[i] for i in group],
                may_end,
                [self._prompt(i, conditions[i]) for i in group],
            )
            for i, codes in zip(group, drawn, strict=True):
                self._append(i, codes, may_end)

    def _span(self, row: int, done: int, span: tuple[int, int]) -> tuple[int, int]:
        """The window that holds frame ``done``: the present one until it is full."""
        if done < span[1]:
            return span
        start = max(0, done - self.stage.window // 2)
        if self.stage.conditioned:
            start += start % FRAMES_PER_SEMANTIC
        return start, min(start + self.stage.window, self.totals[row])

    def _condition(self, row: int, condition: np.ndarray) -> np.ndarray:
        if not self.stage.conditioned:
            return condition
        start, end = self._spans[row]
        piece = condition[start // FRAMES_PER_SEMANTIC : -(-end // FRAMES_PER_SEMANTIC)]
        return deduplicate(piece).tokens if self.stage.deduplicate else piece

    def _prompt(self, row: int, condition: np.ndarray) -> Prompt:
        """What ``row`` was given, its last window's length of it."""
        end = self.known[row]
        start = max(0, end - self.stage.window)
        start += start % FRAMES_PER_SEMANTIC
        spoken = condition[start // FRAMES_PER_SEMANTIC : -(-end // FRAMES_PER_SEMANTIC)]
        return Prompt(spoken, self.targets[row][:, start:end])

    def _append(self, row: int, codes: np.ndarray, may_end: bool) -> None:
        if may_end and self.stage.end_code is not None:
            ends = np.flatnonzero(codes[0] == self.stage.end_code)
            if len(ends):
                codes = codes[:, : ends[0]]
                self.ended[row] = True
                self.totals[row] = self.targets[row].shape[1] + codes.shape[1]
        self.targets[row] = np.concatenate([self.targets[row], codes], axis=1)


def sample_blocks(
    stage: Stage,
    coarse: Sequence[np.ndarray],
    options: StageSampling,
    seeds: Sequence[int],
    place: int,
    first_blocks: Sequence[int] | None = None,
) -> list[np.ndarray]:
    """Fine codes ``[level, frame]`` of each ``coarse[i]`` ``[level, frame]``, in blocks of the stage's window.

    The blocks of all rows travel together (AudioLM, section III-C: fine levels depend on local coarse levels only).
    ``coarse[i]`` starts at block number ``first_blocks[i]`` of its row (None: all at 0).
    """
    window = stage.config.window
    levels = stage.config.layout.target_levels
    numbers = first_blocks or [0] * len(coarse)
    blocks = [(i, at) for i, row in enumerate(coarse) for at in range(0, row.shape[1], window)]
    blocks.sort(key=lambda block: (-min(window, coarse[block[0]].shape[1] - block[1]), block))
    fine = [np.zeros((levels, row.shape[1]), dtype=np.int64) for row in coarse]
    for first in range(0, len(blocks), ROWS_AT_ONCE):
        group = blocks[first : first + ROWS_AT_ONCE]
        pieces = [coarse[i][:, at : at + window] for i, at in group]
        empty = np.zeros((levels, 0), dtype=np.int64)
        generators = [row_generator(seeds[i], place, numbers[i] + at // window) for i, at in group]
        counts = [piece.shape[1] for piece in pieces]
        drawn = stage.sample(pieces, [empty] * len(group), counts, options, generators)
        for (i, at), codes in zip(group, drawn, strict=True):
            fine[i][:, at : at + window] = codes
    return fine
