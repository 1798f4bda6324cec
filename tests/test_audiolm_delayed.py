"""The delayed decoder: its layout, that drawing is the whole pass step by step, guidance, training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from audiolm_tiny import CODES, N_COARSE, N_FINE, N_SEMANTIC, noise, tiny_delayed, tiny_model

from audiolm.delay_pattern import HIDDEN, delay
from audiolm.delayed import DelayedConfig, DelayedRows, DelayedStage, nano_delayed
from audiolm.optimisation import OptimiserConfig
from audiolm.prompt_recall import Prompt, PromptRecall
from audiolm.sampling import Recall, SamplingOptions, StageSampling
from audiolm.tokens import FRAMES_PER_SEMANTIC
from audiolm.train_delayed import DelayedTask, DelayedTraining
from audiolm.train_stages import TokenisedUtterance

LEVELS = N_COARSE + N_FINE
_NO_CHANCE = StageSampling(temperature=0)
LIKELIEST = SamplingOptions(semantic=_NO_CHANCE, coarse=_NO_CHANCE, fine=_NO_CHANCE)


@pytest.fixture
def stage() -> DelayedStage:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = tiny_delayed()
        for name, weight in made.named_parameters():  # a network whose choices depend on what it reads
            if name.startswith(("codes", "into", "out", "transformer")) and weight.ndim > 1:
                torch.nn.init.normal_(weight, std=0.4)
    return made


def draw(
    stage: DelayedStage,
    semantic: list[np.ndarray],
    known: list[np.ndarray],
    frames: list[int],
    options: SamplingOptions = LIKELIEST,
) -> list[np.ndarray]:
    generators = [torch.Generator().manual_seed(i) for i in range(len(frames))]
    return stage.sample(semantic, known, frames, options, generators)


def random_codes(frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(CODES, size=(LEVELS, frames))


def random_tokens(frames: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(N_SEMANTIC, size=-(-frames // FRAMES_PER_SEMANTIC))


@pytest.mark.parametrize("frames", [1, 2, LEVELS - 1, LEVELS, 9])
def test_levels_are_delayed_by_their_number(frames: int) -> None:
    codes = torch.from_numpy(random_codes(frames, 0))[None]
    steps = delay(codes)
    assert steps.shape == (1, LEVELS, frames + LEVELS - 1)
    for level in range(LEVELS):
        for step in range(steps.shape[2]):
            frame = step - level
            wanted = int(codes[0, level, frame]) if 0 <= frame < frames else HIDDEN
            assert int(steps[0, level, step]) == wanted


@pytest.mark.parametrize(("before", "frames"), [(0, 1), (0, 9), (1, 6), (3, 8), (LEVELS, 5), (12, 7)])
def test_each_drawn_code_is_the_likeliest_of_the_whole_pass(stage: DelayedStage, before: int, frames: int) -> None:
    semantic, known = random_tokens(before + frames, 1), random_codes(before, 2)
    new = draw(stage, [semantic], [known], [frames])[0]
    whole = np.concatenate([known, new], axis=1)
    rows = DelayedRows(torch.from_numpy(semantic)[None], *(torch.from_numpy(whole)[None],) * 2)
    with torch.inference_mode():
        hidden = stage.states(rows.heard, rows.semantic)[0]
        for level in range(LEVELS):
            likeliest = stage.logits(hidden, level).argmax(-1).numpy()
            np.testing.assert_array_equal(new[level], likeliest[level + before : level + before + frames])
    assert len(np.unique(new)) > 1


def test_a_row_is_drawn_alike_in_any_company(stage: DelayedStage) -> None:
    shapes = [(0, 7), (5, 3), (2, 11)]
    semantic = [random_tokens(a + b, i) for i, (a, b) in enumerate(shapes)]
    known = [random_codes(a, 10 + i) for i, (a, _) in enumerate(shapes)]
    options = SamplingOptions(guidance=1.7)
    generators = [torch.Generator().manual_seed(i) for i in range(3)]
    together = stage.sample(semantic, known, [b for _, b in shapes], options, generators)
    for i, (_, frames) in enumerate(shapes):
        alone = stage.sample(
            semantic[i : i + 1], known[i : i + 1], [frames], options, [torch.Generator().manual_seed(i)]
        )
        np.testing.assert_array_equal(together[i], alone[0])


def test_a_later_semantic_token_is_heard_only_by_its_neighbours(stage: DelayedStage) -> None:
    """The context is one convolution of three tokens."""
    semantic = random_tokens(20, 4)
    with torch.inference_mode():
        before = stage.condition(torch.from_numpy(semantic)[None])[0]
        semantic[6] = (semantic[6] + 1) % N_SEMANTIC
        after = stage.condition(torch.from_numpy(semantic)[None])[0]
    changed = (before != after).any(dim=1).nonzero().flatten().tolist()
    assert changed == list(range(10, 16))


def test_guidance_goes_from_no_condition_to_the_condition_and_beyond(stage: DelayedStage) -> None:
    semantic, known, frames = [random_tokens(12, 5)], [random_codes(2, 6)], [10]
    other = [random_tokens(12, 7)]

    def guided(amount: float, tokens: list[np.ndarray]) -> np.ndarray:
        return draw(stage, tokens, known, frames, replace(LIKELIEST, guidance=amount))[0]

    np.testing.assert_array_equal(guided(0.0, semantic), guided(0.0, other))
    deaf = draw(stage, other, [random_codes(2, 8)], frames, replace(LIKELIEST, guidance=0.0))[0]
    np.testing.assert_array_equal(guided(0.0, semantic), deaf)
    assert not np.array_equal(guided(1.0, semantic), guided(1.0, other))
    np.testing.assert_array_equal(guided(1.0, semantic), guided(1.0 + 1e-9, semantic))
    with pytest.raises(ValueError, match="guidance is -1"):
        SamplingOptions(guidance=-1)


def test_recall_draws_the_prompts_codes_in_proportion_to_how_alike_the_moments_are(stage: DelayedStage) -> None:
    """Against the definition, moment by moment: a softmax over cosines times sharpness, summed per code."""
    semantic, known = random_tokens(6, 8), random_codes(6, 9)
    hidden = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 16)).astype(np.float32))
    with torch.inference_mode():
        recall = PromptRecall(stage, [Prompt(semantic, known)], Recall(share=0.25, sharpness=3.0))
        mixed = recall.mixed(torch.zeros(1, LEVELS, CODES), hidden)[0].exp().numpy()
        states = stage.states(torch.from_numpy(known)[None], torch.from_numpy(semantic)[None])[0]
    cosines = torch.cosine_similarity(states, hidden, dim=1).numpy()
    for level in range(LEVELS):
        wanted = np.full(CODES, 0.75 / CODES)
        chances = np.exp(3.0 * cosines[level:6])
        for step, chance in zip(range(level, 6), chances / chances.sum(), strict=True):
            wanted[known[level, step - level]] += 0.25 * chance
        np.testing.assert_allclose(mixed[level], wanted, rtol=1e-4)


def test_recall_needs_a_prompt_and_stays_within_its_row(stage: DelayedStage) -> None:
    semantic, known = [random_tokens(12, 5), random_tokens(9, 6)], [random_codes(3, 5), random_codes(4, 6)]
    nothing = Prompt(np.zeros(0, dtype=np.int64), np.zeros((LEVELS, 0), dtype=np.int64))
    prompts = [nothing, Prompt(random_tokens(20, 1), random_codes(20, 7))]
    recalling = SamplingOptions(recall=Recall(share=0.9))

    def drawn(options: SamplingOptions, rows: slice) -> list[np.ndarray]:
        generators = [torch.Generator().manual_seed(i) for i in range(2)]
        return stage.sample(semantic[rows], known[rows], [8, 5][rows], options, generators[rows], prompts[rows])

    plain, both = drawn(SamplingOptions(), slice(2)), drawn(recalling, slice(2))
    np.testing.assert_array_equal(plain[0], both[0])
    assert not np.array_equal(plain[1], both[1])
    np.testing.assert_array_equal(both[1], drawn(recalling, slice(1, 2))[0])
    with pytest.raises(ValueError, match="recall share is 1"):
        Recall(share=1.0)


def test_what_was_given_is_recalled_in_every_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """A continuation of several windows hands each of them the prompt, and nothing of its own making."""
    model = tiny_model()
    seen: list[tuple[int, int]] = []
    sample = DelayedStage.sample

    def noted(self: DelayedStage, conditions: Any, known: Any, frames: Any, options: Any, *rest: Any) -> Any:
        seen.extend((prompt.codes.shape[1], len(prompt.semantic)) for prompt in rest[1])
        return sample(self, conditions, known, frames, options, *rest)

    monkeypatch.setattr(DelayedStage, "sample", noted)
    options = SamplingOptions(decoder="delayed", recall=Recall(share=0.5))
    model.continuation([noise(4 * 640, 1)], 1.2, [1], options)
    assert len(seen) > 3 and set(seen) == {(8, 4)}


def test_it_learns_codes_that_the_tokens_tell() -> None:
    rng = np.random.default_rng(0)
    table = rng.integers(CODES, size=(LEVELS, N_SEMANTIC))

    def spoken(tokens: int) -> TokenisedUtterance:
        semantic = rng.integers(N_SEMANTIC, size=tokens)
        return TokenisedUtterance(semantic, table[:, np.repeat(semantic, FRAMES_PER_SEMANTIC)])

    training = DelayedTraining(
        optimiser=OptimiserConfig(steps=300, learning_rate=2e-2, warmup_steps=10, ema_decay=0.9), batch=8
    )
    task = DelayedTask([spoken(30) for _ in range(20)], [spoken(30)], tiny_delayed().config, training)
    first = task.validate()["loss"]
    for step in range(300):
        task.training_step(step)
    assert first > 1.9 and task.validate()["loss"] < 0.5
    model = task.model.eval()
    tokens = rng.integers(N_SEMANTIC, size=5)
    made = draw(model, [tokens], [np.zeros((LEVELS, 0), dtype=np.int64)], [10])[0]
    assert np.mean(made == table[:, np.repeat(tokens, 2)]) > 0.7


@pytest.mark.parametrize("semantic", [1, 9, 10, 11])
def test_an_utterance_of_any_length_trains_it(semantic: int) -> None:
    item = TokenisedUtterance(random_tokens(2 * semantic, 1), random_codes(2 * semantic, 2))
    config = replace(tiny_delayed().config, window=20)
    task = DelayedTask([item], [item], config, DelayedTraining(batch=2, validation_batches=1))
    assert np.isfinite(task.training_step(0)["loss"]) and np.isfinite(task.validate()["loss"])


def test_bad_values_are_refused(stage: DelayedStage) -> None:
    none = np.zeros((LEVELS, 0), dtype=np.int64)
    with pytest.raises(ValueError, match="4 frames of semantic tokens for 5 frames of codes"):
        draw(stage, [np.array([0, 1])], [none], [5])
    with pytest.raises(ValueError, match="semantic tokens reach from 0 to 99"):
        draw(stage, [np.array([0, 99])], [none], [4])
    with pytest.raises(ValueError, match="known codes have 2 levels; the decoder has 5"):
        draw(stage, [np.array([0, 1])], [np.zeros((2, 1), dtype=np.int64)], [3])
    with pytest.raises(ValueError, match="context_kernel is 4"):
        DelayedConfig(context_kernel=4)
    with pytest.raises(ValueError, match="hide_frames is 2"):
        DelayedTraining(hide_frames=2)
    with pytest.raises(ValueError, match="no training utterance"):
        DelayedTask([], [], stage.config)


def test_no_frames_give_no_codes(stage: DelayedStage) -> None:
    assert draw(stage, [np.zeros(0, int)], [np.zeros((LEVELS, 0), int)], [0])[0].shape == (LEVELS, 0)


def test_the_shipped_size_fits_the_package() -> None:
    stage = DelayedStage(nano_delayed(n_semantic=48))
    assert sum(weight.numel() for weight in stage.parameters()) < 7.2e6
