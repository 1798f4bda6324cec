"""The parallel decoder: what it may see, how it fills levels, that rows do not meet, that it learns."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from audiolm_tiny import CODES, N_COARSE, N_FINE, N_SEMANTIC, tiny_parallel

from audiolm.checkpoint import CheckpointError
from audiolm.optimisation import OptimiserConfig
from audiolm.parallel import MaskedRows, ParallelConfig, ParallelStage, nano_parallel, paper_parallel, still_masked
from audiolm.sampling import SamplingOptions, StageSampling, Unmasking
from audiolm.train_parallel import ParallelTask, ParallelTraining
from audiolm.train_stages import TokenisedUtterance
from audiolm.windows import row_generator

LEVELS = N_COARSE + N_FINE
LIKELIEST = StageSampling(temperature=0.0)
GREEDY = SamplingOptions(semantic=LIKELIEST, coarse=LIKELIEST, fine=LIKELIEST)


@pytest.fixture(scope="module")
def stage() -> ParallelStage:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return tiny_parallel()


def rows(frames: int, seed: int = 0) -> MaskedRows:
    rng = np.random.default_rng(seed)
    return MaskedRows(
        torch.from_numpy(rng.integers(N_SEMANTIC, size=(1, frames))),
        torch.from_numpy(rng.integers(CODES, size=(1, LEVELS, frames))),
        torch.from_numpy(rng.random((1, LEVELS, frames)) < 0.5),
        torch.ones((1, frames), dtype=torch.bool),
    )


def request(seed: int, known: int, new: int) -> tuple[np.ndarray, np.ndarray, int, torch.Generator]:
    rng = np.random.default_rng(seed)
    condition = rng.integers(N_SEMANTIC, size=-(-(known + new) // 2))
    return condition, rng.integers(CODES, size=(LEVELS, known)), new, row_generator(seed)


def sample(stage: ParallelStage, requests: list, options: SamplingOptions | None = None) -> list[np.ndarray]:
    conditions, known, frames, generators = zip(*requests, strict=True)
    return stage.sample(conditions, known, frames, options or SamplingOptions(), generators)


@torch.inference_mode()
def test_hidden_codes_are_not_seen_and_every_other_one_is(stage: ParallelStage) -> None:
    batch = rows(6)
    before = stage(batch)
    for level in range(LEVELS):
        for frame in range(6):
            changed = batch.codes.clone()
            changed[0, level, frame] = (changed[0, level, frame] + 1) % CODES
            same = torch.equal(stage(batch._replace(codes=changed)), before)
            assert same == bool(batch.masked[0, level, frame])


@torch.inference_mode()
def test_each_frame_sees_both_sides(stage: ParallelStage) -> None:
    batch = rows(6)
    before = stage(batch)
    for frame in (0, 5):
        other = batch.semantic.clone()
        other[0, frame] = (other[0, frame] + 1) % N_SEMANTIC
        moved = (stage(batch._replace(semantic=other)) - before).abs().amax(dim=-1)[0]
        assert bool((moved > 0).all())


@pytest.mark.parametrize("frames", [1, 2, 15, 16, 17])
@pytest.mark.parametrize("known", [0, 1, 4])
def test_all_lengths_are_filled_with_legal_codes(stage: ParallelStage, frames: int, known: int) -> None:
    drawn = sample(stage, [request(5, known, frames)])[0]
    assert drawn.shape == (LEVELS, frames) and drawn.dtype == np.int64
    assert drawn.min() >= 0 and drawn.max() < CODES


def test_rows_are_drawn_alike_alone_and_together(stage: ParallelStage) -> None:
    def requests() -> list:
        return [request(1, 0, 9), request(2, 7, 12), request(3, 2, 1)]

    together = sample(stage, requests())
    backwards = sample(stage, requests()[::-1])[::-1]
    alone = [sample(stage, [one])[0] for one in requests()]
    for a, b, c in zip(together, backwards, alone, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_seeds_matter_unless_the_likeliest_is_asked_for(stage: ParallelStage) -> None:
    condition, known, new, _ = request(1, 3, 12)
    drawn = [sample(stage, [(condition, known, new, row_generator(seed))])[0] for seed in (1, 2, 1)]
    assert not np.array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], drawn[2])
    greedy = [sample(stage, [(condition, known, new, row_generator(seed))], GREEDY)[0] for seed in (1, 2)]
    np.testing.assert_array_equal(greedy[0], greedy[1])


def test_one_greedy_pass_is_the_likeliest_code_of_every_level_in_turn(stage: ParallelStage) -> None:
    condition, known, new, generator = request(4, 3, 8)
    options = SamplingOptions(coarse=GREEDY.coarse, fine=GREEDY.fine, unmasking=Unmasking(passes=(1,)))
    drawn = sample(stage, [(condition, known, new, generator)], options)[0]
    codes = torch.zeros((1, LEVELS, 11), dtype=torch.int64)
    codes[0, :, :3] = torch.from_numpy(known)
    masked = torch.zeros_like(codes, dtype=torch.bool)
    masked[:, :, 3:] = True
    semantic = torch.from_numpy(np.repeat(condition, 2)[None, :11])
    valid = torch.ones((1, 11), dtype=torch.bool)
    for level in range(LEVELS):
        with torch.inference_mode():
            hidden = stage(MaskedRows(semantic, codes, masked, valid))
            codes[0, level, 3:] = stage.logits(hidden, level)[0, 3:].argmax(-1)
        masked[:, level] = False
    np.testing.assert_array_equal(drawn, codes[0, :, 3:].numpy())


def test_passes_cost_forward_passes_and_keep_the_most_certain(stage: ParallelStage) -> None:
    seen: list[int] = []
    handle = stage.register_forward_pre_hook(lambda _m, inputs: seen.append(int(inputs[0].masked[0, 0].sum())))
    try:
        sample(stage, [request(6, 0, 16)], SamplingOptions(unmasking=Unmasking(passes=(4, 2, 1))))
    finally:
        handle.remove()
    assert len(seen) == 4 + 2 + (LEVELS - 2)
    expected = [16, *(math.floor(math.cos(math.pi / 2 * step / 4) * 16) for step in (1, 2, 3))]
    assert seen[:4] == expected and set(seen[4:]) == {0}


def test_the_schedule_falls_from_all_to_none() -> None:
    for passes in (1, 2, 8):
        left = [still_masked(step, passes, 100) for step in range(passes + 1)]
        assert left[0] == 100 and left[-1] == 0 and left == sorted(left, reverse=True)


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([(np.array([1, 2]), np.zeros((LEVELS, 0), int), 5, row_generator(0))], "4 frames of semantic tokens for 5"),
        ([(np.array([99]), np.zeros((LEVELS, 0), int), 1, row_generator(0))], "semantic tokens reach from 99"),
        ([(np.array([1]), np.full((LEVELS, 1), -1), 1, row_generator(0))], "known codes reach from -1"),
        ([(np.array([1]), np.zeros((LEVELS - 1, 1), int), 1, row_generator(0))], "have 4 levels"),
    ],
)
def test_unusable_conditions_are_refused(stage: ParallelStage, requests: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(stage, requests)


def test_unusable_options_are_refused() -> None:
    with pytest.raises(ValueError, match="passes are"):
        Unmasking(passes=(4, 0))
    with pytest.raises(ValueError, match="noise is -1"):
        Unmasking(noise=-1.0)
    with pytest.raises(ValueError, match="window is 3"):
        ParallelConfig(window=3)
    with pytest.raises(ValueError, match="n_levels 2 must be"):
        ParallelConfig(n_levels=2)
    with pytest.raises(ValueError, match="finer_weight is 2"):
        ParallelTraining(finer_weight=2.0)


def test_nothing_asked_gives_nothing(stage: ParallelStage) -> None:
    assert sample(stage, [request(1, 2, 0)])[0].shape == (LEVELS, 0)
    assert stage.sample([], [], [], SamplingOptions(), []) == []


def test_the_nano_preset_fits_its_place_and_the_large_one_is_soundstorms() -> None:
    weights = sum(p.numel() for p in ParallelStage(nano_parallel(n_semantic=256)).parameters())
    assert 2 * weights < 6e6
    large = paper_parallel().conformer  # SoundStorm, section 4.1
    assert (large.layers, large.heads, large.dim, large.dim * large.ff_factor, large.kernel) == (12, 16, 1024, 4096, 5)


def test_saved_stages_come_back(stage: ParallelStage, tmp_path: Path) -> None:
    stage.save(tmp_path, {})
    again = ParallelStage.load(tmp_path)
    assert again.config == stage.config
    with torch.inference_mode():
        torch.testing.assert_close(again(rows(5)), stage(rows(5)), rtol=0, atol=2e-2)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="truncated"):
        ParallelStage.load(tmp_path)


def speech(count: int, seed: int) -> list[TokenisedUtterance]:
    """Every code follows from the semantic token of its moment and its level."""
    rng = np.random.default_rng(seed)
    items = []
    for _ in range(count):
        semantic = np.repeat(rng.integers(4, size=8), 2)
        codes = (np.repeat(semantic, 2)[None] + np.arange(LEVELS)[:, None]) % 4
        items.append(TokenisedUtterance(semantic, codes))
    return items


def task(steps: int = 40) -> ParallelTask:
    optimiser = OptimiserConfig(steps=steps, warmup_steps=3, learning_rate=1e-2, ema_decay=0.8, weight_decay=0.0)
    training = ParallelTraining(optimiser=optimiser, batch=6, validation_batches=2)
    return ParallelTask(speech(20, 1), speech(4, 2), tiny_parallel().config, training)


def test_it_learns_what_the_semantic_tokens_say(tmp_path: Path) -> None:
    job = task()
    before = job.validate()["loss"]
    for step in range(40):
        job.training_step(step)
    after = job.validate()
    assert before > 1.2 and after["loss"] < 0.3 and after["accuracy"] > 0.95
    job.export(tmp_path, {})
    item = speech(1, 9)[0]
    stage = ParallelStage.load(tmp_path)
    nothing = np.zeros((LEVELS, 0), dtype=np.int64)
    drawn = stage.sample([item.semantic], [nothing], [item.codes.shape[1]], GREEDY, [row_generator(0)])[0]
    assert (drawn == item.codes).mean() > 0.95


def test_a_resumed_training_goes_on_exactly() -> None:
    whole, first, second = task(4), task(4), task(4)
    losses = [whole.training_step(step)["loss"] for step in range(4)]
    for step in range(2):
        first.training_step(step)
    second.load_state_dict(first.state_dict())
    assert [second.training_step(step)["loss"] for step in (2, 3)] == losses[2:]


def test_masks_follow_the_published_scheme() -> None:
    job = task()
    rng = np.random.default_rng(0)
    for crop in job._crops(job.train, job.chances, rng) * 5:
        level = int(np.flatnonzero((crop.weights == 1).any(axis=1))[0])
        prompt = int(np.flatnonzero(crop.masked.any(axis=0))[0]) if level + 1 == LEVELS else None
        assert not crop.masked[:level].any()
        assert np.array_equal(crop.weights == 1, crop.masked & (np.arange(LEVELS) == level)[:, None])
        if prompt is None:
            finer = crop.masked[level + 1 :]
            assert (finer == finer[0]).all() and np.array_equal(finer[0], np.sort(finer[0]))
            assert not (crop.masked[level] & ~finer[0]).any()


def test_unusable_utterances_are_refused() -> None:
    short = TokenisedUtterance(np.zeros(5, int), np.zeros((LEVELS, 20), int))
    with pytest.raises(ValueError, match="do not cover the same time"):
        ParallelTask([short], speech(1, 1), tiny_parallel().config)
    with pytest.raises(ValueError, match="no training utterance; give at least one"):
        ParallelTask([], speech(1, 1), tiny_parallel().config)
