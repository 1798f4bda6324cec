"""The three stages: they learn, resume exactly, draw legal codes, and draw each row as if it were alone."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from audiolm.optimisation import OptimiserConfig
from audiolm.sampling import StageSampling, choose, uniform_draws
from audiolm.stages import Stage, StageConfig, nano_stage, paper_stage
from audiolm.tokens import Layout, StageKind
from audiolm.train_stages import StageTask, StageTraining, TokenisedUtterance
from audiolm.transformer import TransformerConfig
from audiolm.windows import Sliding, autoregressive, row_generator, sample_blocks

KINDS: tuple[StageKind, ...] = ("semantic", "coarse", "fine")
N_SEMANTIC, N_COARSE, N_FINE, CODES = 8, 2, 2, 16


def tiny(kind: StageKind, *, paper: bool = False, window: int = 16) -> StageConfig:
    layout = Layout(
        kind=kind,
        n_semantic=N_SEMANTIC,
        n_coarse=N_COARSE,
        n_fine=N_FINE,
        codebook_size=CODES,
        time_positions=not paper,
    )
    shape = {"layers": 2, "heads": 2, "dim": 24, "ff_dim": 32, "dropout": 0.0}
    fast = TransformerConfig(**shape, positions="rope", norm="rms", feed_forward="gated", qk_norm=True)
    return StageConfig(
        layout=layout,
        transformer=TransformerConfig(**shape) if paper else fast,
        window=window,
        deduplicate=paper and kind != "fine",
        aligned=not paper and kind != "semantic",
    )


def utterances(count: int, seed: int = 0) -> list[TokenisedUtterance]:
    """Codes are a fixed function of the semantic tokens, which count upwards: everything can be learnt."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        frames = int(rng.integers(6, 9))
        semantic = (int(rng.integers(N_SEMANTIC)) + np.arange(frames)) % N_SEMANTIC
        codes = (np.repeat(semantic, 2)[None] * 2 + np.arange(N_COARSE + N_FINE)[:, None]) % CODES
        made.append(TokenisedUtterance(semantic, codes))
    return made


def task(kind: StageKind, *, paper: bool = False, steps: int = 40) -> StageTask:
    optimiser = OptimiserConfig(steps=steps, warmup_steps=3, learning_rate=2e-2, ema_decay=0.9)
    training = StageTraining(optimiser=optimiser, batch=4, validation_batches=2)
    return StageTask(utterances(6), utterances(2, seed=1), tiny(kind, paper=paper), training)


def inputs(kind: StageKind, item: TokenisedUtterance, known: int) -> tuple[np.ndarray, np.ndarray]:
    if kind == "semantic":
        return np.zeros(0, dtype=np.int64), item.semantic[None, :known]
    coarse, fine = item.codes[:N_COARSE], item.codes[N_COARSE:]
    return (item.semantic, coarse[:, :known]) if kind == "coarse" else (coarse, fine[:, :known])


@pytest.mark.parametrize("kind", KINDS)
def test_a_stage_learns_what_can_be_learnt_and_samples_it(kind: StageKind) -> None:
    job = task(kind)
    first = job.training_step(0)["loss"]
    for step in range(1, 40):
        job.training_step(step)
    learnt = job.validate()
    best = 0.65 if kind == "semantic" else 0.9  # an utterance's first token and its end are chance
    assert learnt["accuracy"] > best and learnt["loss"] < first
    item = utterances(1, seed=7)[0]
    condition, known = inputs(kind, item, 2)
    truth = inputs(kind, item, 6)[1][:, 2:]
    drawn = job.model.eval().sample([condition], [known], [4], StageSampling(temperature=0.0), [torch.Generator()])
    assert (drawn[0] == truth).mean() > 0.8


@pytest.mark.parametrize("paper", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_of_use_gets_a_gradient(kind: StageKind, paper: bool) -> None:
    job = task(kind, paper=paper)
    job.training_step(0)
    assert [name for name, weight in job.model.named_parameters() if weight.grad is None] == []


def test_resuming_continues_the_same_curve() -> None:
    job, other = task("coarse"), task("coarse")
    job.training_step(0)
    other.load_state_dict(copy.deepcopy(job.state_dict()))
    assert job.training_step(1) == other.training_step(1)
    assert job.validate() == other.validate()


def test_training_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    task("semantic").training_step(0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_stage_comes_back_from_its_folder(tmp_path: Path) -> None:
    job = task("coarse")
    job.export(tmp_path, {"steps": 1})
    loaded = Stage.load(tmp_path, "coarse")
    assert loaded.config == job.config
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, job.optimiser.average[name].half().float())
    with pytest.raises(ValueError, match="holds part 'stage_coarse', not 'stage_fine'"):
        Stage.load(tmp_path, "fine")


def test_the_paper_preset_measures_its_run_length() -> None:
    rows = [TokenisedUtterance(np.repeat([1, 2, 3], 2), np.zeros((4, 12), dtype=np.int64))]
    job = StageTask(rows, rows, tiny("semantic", paper=True), StageTraining(batch=1))
    assert job.model.config.frames_per_token == 2.0


@pytest.mark.parametrize("paper", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_drawn_as_if_alone_and_always_legal(kind: StageKind, paper: bool) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        stage = Stage(tiny(kind, paper=paper)).eval()
    rows = utterances(3, seed=2)
    pairs = [inputs(kind, item, known) for item, known in zip(rows, (0, 3, 1), strict=True)]
    conditions, known = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    frames, options = [5, 1, 4], StageSampling(temperature=1.0, top_k=6, top_p=0.9)
    together = stage.sample(conditions, known, frames, options, [row_generator(seed) for seed in (1, 2, 3)])
    for i in range(3):
        alone = stage.sample([conditions[i]], [known[i]], [frames[i]], options, [row_generator(i + 1)])[0]
        np.testing.assert_array_equal(together[i], alone)
        assert alone.shape == (stage.config.layout.target_levels, frames[i])
        assert alone.min() >= 0 and alone.max() < stage.config.layout.target_size


@pytest.mark.parametrize("kind", KINDS)
def test_the_sampling_path_sees_what_training_sees(kind: StageKind) -> None:
    """Greedy codes drawn step by step through the cache are the argmax of one whole pass over prefix and draw."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        stage = Stage(tiny(kind)).eval()
    condition, known = inputs(kind, utterances(1, seed=3)[0], 2)
    drawn = stage.sample([condition], [known], [4], StageSampling(temperature=0.0), [torch.Generator()])[0]
    batch = stage.batch([condition], [np.concatenate([known, drawn], axis=1)], [False])
    levels = stage.config.layout.target_levels
    places = np.flatnonzero(batch.targets[0] >= 0)[known.size :]
    with torch.inference_mode():
        for index, place in enumerate(places):
            best = int(stage.logits(batch, index % levels)[0, place].argmax())
            assert best == drawn[index % levels, index // levels]


@pytest.mark.parametrize("total", [15, 16, 17, 40])
@pytest.mark.parametrize("kind", ["semantic", "coarse"])
def test_sliding_windows_reach_any_length(kind: StageKind, total: int) -> None:
    stage = Stage(tiny(kind)).eval()
    levels = stage.config.layout.target_levels
    condition = np.arange(-(-total // 2)) % N_SEMANTIC if kind == "coarse" else np.zeros(0, dtype=np.int64)
    for known in (0, 3):
        start = np.zeros((levels, known), dtype=np.int64)
        sliding = Sliding(autoregressive(stage, StageSampling()), [start], [total - known], [row_generator(1)])
        sliding.advance([condition], [total])
        assert sliding.new[0].shape == (levels, total - known)


@pytest.mark.parametrize("frames", [0, 1, 15, 16, 17, 33])
def test_fine_blocks_cover_every_frame(frames: int) -> None:
    stage = Stage(tiny("fine")).eval()
    coarse = [np.ones((N_COARSE, frames), dtype=np.int64), np.zeros((N_COARSE, 20), dtype=np.int64)]
    together = sample_blocks(stage, coarse, StageSampling(), [5, 6], 3)
    assert together[0].shape == (N_FINE, frames)
    np.testing.assert_array_equal(together[1], sample_blocks(stage, coarse[1:], StageSampling(), [6], 3)[0])


def test_a_condition_that_is_too_short_is_refused() -> None:
    stage = Stage(tiny("coarse")).eval()
    with pytest.raises(ValueError, match="beyond the condition's 4;"):
        stage.sample([np.array([1, 2])], [np.zeros((2, 1), int)], [4], StageSampling(), [row_generator(1)])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (TokenisedUtterance(np.zeros(5), np.zeros((4, 20))), "do not cover the same time"),
        (TokenisedUtterance(np.zeros(5), np.zeros((1, 10))), r"give \[frame\] and \[2, frame\]"),
        (TokenisedUtterance(np.zeros(0), np.zeros((4, 0))), "training utterance 0"),
    ],
)
def test_tokens_that_do_not_fit_are_refused(row: TokenisedUtterance, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StageTask([row], utterances(1), tiny("coarse"))


def test_timing_and_deduplication_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="deduplicate removes the timing"):
        StageConfig(layout=Layout(kind="coarse"), deduplicate=True, aligned=True)


def test_presets_have_the_published_sequence_lengths() -> None:
    windows = [paper_stage(Layout(kind=kind)).window for kind in KINDS]
    assert windows == [750, 500, 150]
    for kind in KINDS:
        size = sum(weight.numel() for weight in Stage(nano_stage(kind, n_semantic=256)).parameters())
        assert 1e6 < size < 12e6


def test_inversion_draws_follow_the_distribution() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    grid = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    drawn = torch.stack([choose(logits, u[None], StageSampling()) for u in grid]).squeeze(1)
    assert torch.bincount(drawn, minlength=3).tolist() == [500, 300, 200]


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (StageSampling(top_k=2), {0, 1}),
        (StageSampling(top_p=0.5), {0}),
        (StageSampling(top_p=0.51), {0, 1}),
        (StageSampling(top_k=9, top_p=1.0), {0, 1, 2}),
        (StageSampling(temperature=0.0), {0}),
    ],
)
def test_filters_keep_the_likeliest(options: StageSampling, kept: set[int]) -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    draws = [0.0, 0.3, 0.6, 0.9, 1 - 1e-12]
    assert {int(choose(logits, torch.tensor([u], dtype=torch.float64), options)) for u in draws} == kept


def test_a_rows_draws_do_not_depend_on_other_rows() -> None:
    both = uniform_draws([row_generator(1), row_generator(2)], [3, 50])
    assert torch.equal(both[0, :3], uniform_draws([row_generator(1)], [3])[0])
    assert not torch.equal(both[0, :3], both[1, :3])
    assert not torch.equal(uniform_draws([row_generator(1, 0)], [3]), uniform_draws([row_generator(1, 1)], [3]))
