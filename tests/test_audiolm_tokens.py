"""Token layouts: hand-written sequences, round trips, disjoint ids, legal ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audiolm.tokens import Layout, StageKind, deduplicate, flatten, stack, unflatten

KINDS: tuple[StageKind, ...] = ("semantic", "coarse", "fine")


def layout(kind: StageKind, *, timed: bool = False) -> Layout:
    return Layout(kind=kind, n_semantic=5, n_coarse=2, n_fine=3, codebook_size=10, time_positions=timed)


def condition_of(kind: StageKind, frames: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "semantic":
        return np.zeros(0, dtype=np.int64)
    return rng.integers(0, 5, -(-frames // 2)) if kind == "coarse" else rng.integers(0, 10, (2, frames))


@given(st.lists(st.integers(0, 3), max_size=30))
def test_deduplication_keeps_order_and_durations(tokens: list[int]) -> None:
    runs = deduplicate(np.array(tokens, dtype=np.int64))
    assert runs.expand().tolist() == tokens
    assert all(a != b for a, b in zip(runs.tokens[:-1], runs.tokens[1:], strict=True))
    assert (runs.durations >= 1).all()


def test_deduplication_by_hand() -> None:
    runs = deduplicate(np.array([7, 7, 2, 7, 7, 7]))
    assert (runs.tokens.tolist(), runs.durations.tolist()) == ([7, 2, 7], [2, 1, 3])


@given(st.integers(1, 6), st.integers(0, 20))
def test_flattening_is_row_major_and_reverts(levels: int, frames: int) -> None:
    codes = np.arange(levels * frames).reshape(levels, frames)
    flat = flatten(codes)
    assert flat.tolist() == [codes[level, frame] for frame in range(frames) for level in range(levels)]
    np.testing.assert_array_equal(unflatten(flat, levels), codes)


def test_a_torn_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="5 flat codes are not a whole number of frames of 2 levels"):
        unflatten(np.zeros(5), 2)


@given(st.sampled_from(KINDS), st.integers(0, 12), st.integers(0, 2**31))
def test_target_ids_round_trip_and_are_legal(kind: StageKind, frames: int, seed: int) -> None:
    plan = layout(kind)
    codes = np.random.default_rng(seed).integers(0, plan.target_size, (plan.target_levels, frames))
    ids = plan.target_ids(codes)
    np.testing.assert_array_equal(plan.target_codes(ids), codes)
    for place, value in enumerate(ids):
        first, stop = plan.legal_range(place % plan.target_levels)
        assert first <= value < stop


@pytest.mark.parametrize("kind", KINDS)
def test_levels_condition_and_special_ids_share_nothing(kind: StageKind) -> None:
    plan = layout(kind)
    owned = [set(range(*plan.legal_range(level))) for level in range(plan.target_levels)]
    owned += [set(range(plan.condition_size)), {plan.end}, {plan.begin}, {plan.separator}]
    assert sum(map(len, owned)) == len(set().union(*owned)) == plan.vocabulary
    assert max(set().union(*owned)) == plan.vocabulary - 1


def test_end_of_sequence_is_legal_in_stage_one_only() -> None:
    assert layout("semantic").legal_range(0, may_end=True) == (0, 6)
    assert layout("semantic").end == 5
    assert layout("coarse").legal_range(1, may_end=True) == layout("coarse").legal_range(1)
    with pytest.raises(ValueError, match="level 2 does not exist"):
        layout("coarse").legal_range(2)


def test_the_coarse_sequence_by_hand() -> None:
    plan = layout("coarse", timed=True)
    row = plan.rows(np.array([3, 1]), np.array([[0, 4, 8], [9, 5, 2]]))
    b, s, e = plan.begin, plan.separator, -1
    assert row.ids[0].tolist() == [b, 3, 1, s, 5, 24, 9, 20, 13, 17]
    assert row.targets[0].tolist() == [e, e, e, 5, 24, 9, 20, 13, 17, e]
    assert row.roles[0].tolist() == [0, 0, 0, 1, 2, 1, 2, 1, 2, 1]
    assert row.frames[0].tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert row.positions[0].tolist() == [-2, 0, 4, -1, 0, 1, 2, 3, 4, 5]
    assert row.aligned[0].tolist() == [[3], [3], [1], [1]]


def test_the_fine_sequence_by_hand() -> None:
    plan = layout("fine")
    row = plan.rows(np.array([[1, 2], [3, 4]]), np.array([[0, 9], [1, 8], [2, 7]]))
    assert row.ids[0].tolist() == [plan.begin, 1, 13, 2, 14, plan.separator, 20, 31, 42, 29, 38, 47]
    assert row.targets[0].tolist() == [-1] * 5 + [20, 31, 42, 29, 38, 47, -1]
    assert row.positions[0].tolist() == list(range(12))
    assert row.aligned[0].tolist() == [[1, 13], [2, 14]]


@pytest.mark.parametrize("ends", [False, True])
def test_the_semantic_sequence_by_hand(ends: bool) -> None:
    plan = layout("semantic")
    row = plan.rows(np.zeros(0, dtype=np.int64), np.array([[4, 0]]), ends=ends)
    assert row.ids[0].tolist() == [plan.begin, 4, 0]
    assert row.targets[0].tolist() == [4, 0, plan.end if ends else -1]


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [0, 1, 4])
def test_a_prefix_is_the_start_of_the_training_sequence(kind: StageKind, known: int, timed: bool) -> None:
    plan, rng = layout(kind, timed=timed), np.random.default_rng(0)
    condition = condition_of(kind, 4, rng)
    target = rng.integers(0, plan.target_size, (plan.target_levels, 4))
    whole, part = plan.rows(condition, target), plan.prefix(condition, target[:, :known])
    width = part.ids.shape[1]
    for name in ("ids", "roles", "positions", "frames"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[:, :width])
    wanted = target[:, known:].T.reshape(-1)
    steps = np.arange(len(wanted)) % plan.target_levels
    following = whole.targets[0, width - 1 : width - 1 + len(wanted)]
    np.testing.assert_array_equal(following, wanted + plan.condition_size + steps * plan.target_size)


@pytest.mark.parametrize(
    ("kind", "condition", "target", "message"),
    [
        ("coarse", np.array([5]), np.zeros((2, 2)), "semantic tokens reach from 5 to 5; use 0 to 4"),
        ("coarse", np.array([1]), np.full((2, 2), 10), "target codes reach from 10"),
        ("coarse", np.array([1]), np.full((2, 2), -1), "target codes reach from -1"),
        ("coarse", np.array([1]), np.zeros((3, 2)), "3 levels; stage coarse has 2"),
        ("fine", np.zeros((3, 2)), np.zeros((3, 2)), "coarse codes have shape"),
    ],
)
def test_wrong_codes_are_refused(kind: StageKind, condition: np.ndarray, target: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layout(kind).rows(condition, target)


@pytest.mark.parametrize("left", [False, True])
def test_stacking_pads_on_the_asked_side(left: bool) -> None:
    plan, nothing = layout("semantic"), np.zeros(0, dtype=np.int64)
    rows = [plan.prefix(nothing, np.array([[1, 2]])), plan.prefix(nothing, np.array([[3]]))]
    short = stack(rows, left=left, pad_id=plan.end).ids[1].tolist()
    assert short == ([plan.end, plan.begin, 3] if left else [plan.begin, 3, plan.end])
