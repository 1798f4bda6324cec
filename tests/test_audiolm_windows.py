"""Windows that slide: the same draws in one go and in pieces, prefixes where they belong, ends where they are drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from audiolm_tiny import tiny_model

from audiolm.prompt_recall import Prompt
from audiolm.sampling import StageSampling
from audiolm.windows import Sliding, Windowed, autoregressive, row_generator

NOTHING = np.zeros(0, dtype=np.int64)


class Recorder:
    """A stage that counts on from the last code it is shown and notes what it was asked."""

    def __init__(self, end_at: int | None = None) -> None:
        self.calls: list[tuple[list[int], list[int], int]] = []
        self.end_at = end_at

    def __call__(
        self,
        conditions: Sequence[np.ndarray],
        known: Sequence[np.ndarray],
        frames: Sequence[int],
        _generators: Sequence[torch.Generator],
        may_end: bool,
        _prompts: Sequence[Prompt],
    ) -> list[np.ndarray]:
        drawn = []
        for condition, row, count in zip(conditions, known, frames, strict=True):
            self.calls.append((condition.tolist(), row[0].tolist(), count))
            start = row[0, -1] + 1 if row.shape[1] else 0
            new = np.arange(start, start + count)[None]
            drawn.append(np.where(new >= self.end_at, -7, new) if may_end and self.end_at is not None else new)
        return drawn

    def windowed(self, window: int, *, conditioned: bool = False, whole: bool = False) -> Windowed:
        return Windowed(draw=self, window=window, conditioned=conditioned, whole=whole, end_code=-7)


def sliding(stage: Windowed, known: int, frames: int) -> Sliding:
    return Sliding(stage, [np.arange(known)[None]], [frames], [row_generator(0)])


@pytest.mark.parametrize("frames", [0, 1, 7, 8, 9, 40])
@pytest.mark.parametrize("known", [0, 1, 8, 30])
def test_what_is_drawn_follows_on_and_no_window_is_too_long(known: int, frames: int) -> None:
    stage = Recorder()
    row = sliding(stage.windowed(8), known, frames)
    row.advance([NOTHING], [known + frames])
    np.testing.assert_array_equal(row.targets[0][0], np.arange(known + frames))
    assert row.new[0].shape == (1, frames)
    assert all(len(prefix) + count <= 8 for _, prefix, count in stage.calls)
    assert all(len(prefix) == 4 for _, prefix, _ in stage.calls[1:])


@pytest.mark.parametrize("window", [4, 7, 8])
def test_the_condition_covers_exactly_the_window(window: int) -> None:
    stage = Recorder()
    row = sliding(stage.windowed(window, conditioned=True), 6, 20)
    row.advance([np.arange(13)], [26])
    done = 6
    for condition, prefix, count in stage.calls:
        start = done - len(prefix)
        assert start % 2 == 0
        assert condition == list(range(start // 2, min(13, -(-(start + window) // 2))))
        done += count
    assert done == 26


def test_pieces_keep_to_the_windows_of_the_whole() -> None:
    whole, pieces = Recorder(), Recorder()
    one = sliding(whole.windowed(8, conditioned=True), 2, 30)
    one.advance([np.arange(16)], [32])
    row = sliding(pieces.windowed(8, conditioned=True), 2, 30)
    for goal in (3, 4, 11, 20, 32):
        reach = row.reach(0, goal)
        row.advance([np.arange(-(-reach // 2))], [goal])
        assert row.targets[0].shape[1] == goal
    np.testing.assert_array_equal(one.targets[0], row.targets[0])
    starts = {tuple(condition) for condition, _, _ in whole.calls}
    assert {tuple(condition) for condition, _, _ in pieces.calls} == starts


def test_a_stage_that_draws_whole_windows_goes_past_the_goal() -> None:
    row = sliding(Recorder().windowed(8, conditioned=True, whole=True), 2, 30)
    assert row.reach(0, 3) == 8
    row.advance([np.arange(4)], [3])
    assert row.targets[0].shape[1] == 8


def test_a_row_ends_where_its_end_is_drawn() -> None:
    row = sliding(Recorder(end_at=11).windowed(8), 2, 30)
    row.advance([NOTHING], [32], may_end=True)
    assert row.ended == [True] and row.totals == [11]
    np.testing.assert_array_equal(row.new[0][0], np.arange(2, 11))
    never = sliding(Recorder().windowed(8), 2, 10)
    never.advance([NOTHING], [12], may_end=True)
    assert never.ended == [False] and never.new[0].shape == (1, 10)


@pytest.mark.parametrize("kind", ["semantic", "coarse"])
def test_a_real_stage_draws_the_same_in_pieces_and_beside_others(kind: str) -> None:
    stage = getattr(tiny_model().parts, kind)
    condition = np.arange(35) % 12 if kind == "coarse" else NOTHING
    levels = stage.config.layout.target_levels
    known = np.zeros((levels, 3), dtype=np.int64)

    def rows(count: int) -> Sliding:
        generators = [row_generator(index) for index in range(count)]
        options = StageSampling(temperature=1.0)
        return Sliding(
            autoregressive(stage, options), [known[:, : 3 - i] for i in range(count)], [60] * count, generators
        )

    whole, pieces = rows(1), rows(3)
    whole.advance([condition], [63])
    for goal in (5, 6, 30, 47):
        pieces.advance([condition] * 3, [goal] * 3)
    pieces.advance([condition] * 3, pieces.totals)
    np.testing.assert_array_equal(whole.new[0], pieces.new[0])
    assert len(np.unique(whole.new[0])) > 4


def test_draws_of_a_generator_do_not_depend_on_how_they_are_cut() -> None:
    whole = torch.rand(40, generator=row_generator(3, 1), dtype=torch.float64)
    generator = row_generator(3, 1)
    pieces = torch.cat([torch.rand(n, generator=generator, dtype=torch.float64) for n in (1, 15, 16, 8)])
    assert torch.equal(whole, pieces)
