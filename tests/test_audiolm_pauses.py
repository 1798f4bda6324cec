"""Pauses: silence at a recording's ends is cut for training, and none is drawn longer than allowed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiolm.dataset import Recording
from audiolm.edge_silence import without_edge_silence
from audiolm.sampling import Pauses, SamplingOptions, StageSampling
from audiolm.stages import Stage, StageConfig
from audiolm.tokens import Layout
from audiolm.transformer import TransformerConfig
from audiolm.windows import Sliding, autoregressive, row_generator

RATE = 16_000
N_SEMANTIC = 6
QUIET = (2, 5)
EMPTY = np.zeros((1, 0), dtype=np.int64)


def speech(before_s: float, after_s: float, level: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(0)
    parts = (np.zeros(int(before_s * RATE)), rng.standard_normal(RATE) * level, np.zeros(int(after_s * RATE)))
    return np.concatenate(parts).astype(np.float32)


@pytest.mark.parametrize(("before_s", "after_s"), [(3.0, 2.0), (0.2, 4.0), (0.0, 0.0), (0.5, 0.1)])
def test_at_most_the_given_silence_is_left_at_either_end(before_s: float, after_s: float) -> None:
    [kept] = without_edge_silence([Recording("a", "s", speech(before_s, after_s))], 0.5, RATE)
    want_s = min(before_s, 0.5) + 1.0 + min(after_s, 0.5)
    assert len(kept.samples) / RATE == pytest.approx(want_s, abs=0.011)
    start = int(max(0.0, before_s - 0.5) * RATE)
    np.testing.assert_array_equal(kept.samples[:], speech(before_s, after_s)[start : start + len(kept.samples)])
    np.testing.assert_array_equal(np.asarray(kept.samples)[100:900], kept.samples[100:900])
    assert (kept.utterance_id, kept.speaker_id) == ("a", "s")


def test_faint_noise_is_silence_and_a_silent_recording_stays_whole() -> None:
    hiss = np.random.default_rng(1).standard_normal(2 * RATE).astype(np.float32) * 3e-4
    noisy = np.concatenate([hiss, speech(0, 0), hiss])
    kept, silent, short = without_edge_silence(
        [Recording("a", "", noisy), Recording("b", "", np.zeros(RATE, np.float32)), Recording("c", "", noisy[:100])],
        0.0,
        RATE,
    )
    assert len(kept.samples) == RATE
    assert len(silent.samples) == RATE
    assert len(short.samples) == 100
    with pytest.raises(ValueError, match="edge_silence_s is -1"):
        without_edge_silence([], -1, RATE)


def stage() -> Stage:
    """A semantic stage to which every token is as likely as any other: a third of them are pauses."""
    shape = TransformerConfig(layers=1, heads=2, dim=16, ff_dim=16, positions="rope", norm="rms", dropout=0.0)
    torch.manual_seed(0)
    made = Stage(StageConfig(layout=Layout(kind="semantic", n_semantic=N_SEMANTIC), transformer=shape, window=16))
    with torch.no_grad():
        made.head.zero_()
    return made.eval()


def longest_run(tokens: np.ndarray) -> int:
    longest = run = 0
    for token in tokens:
        run = run + 1 if token in QUIET else 0
        longest = max(longest, run)
    return longest


def draw(pauses: Pauses, known: np.ndarray, pieces: tuple[int, ...] = (60,), seed: int = 0) -> np.ndarray:
    rows = Sliding(
        autoregressive(stage(), StageSampling(temperature=1.0), pauses), [known], [60], [row_generator(seed, 1)]
    )
    for goal in pieces:
        rows.advance([np.zeros(0, np.int64)], [known.shape[1] + goal])
    return rows.new[0][0]


def test_no_pause_is_longer_than_allowed_also_across_windows_and_the_prompt() -> None:
    free = draw(Pauses(), EMPTY)
    assert longest_run(free) > 2
    for longest in (1, 2):
        pauses = Pauses(tokens=QUIET, longest=longest)
        assert longest_run(draw(pauses, EMPTY)) == longest
        known = np.array([[0, 2, 5]])[:, : 1 + longest]
        assert draw(pauses, known)[0] not in QUIET
    # what a limit does not touch stays as it was drawn
    np.testing.assert_array_equal(draw(Pauses(tokens=QUIET, longest=50), EMPTY), free)


def test_in_pieces_as_in_one_go() -> None:
    pauses = Pauses(tokens=QUIET, longest=2)
    np.testing.assert_array_equal(draw(pauses, EMPTY, (7, 8, 33, 60)), draw(pauses, EMPTY))


def test_pause_tokens_must_be_some_of_the_models() -> None:
    with pytest.raises(ValueError, match="semantic tokens 0 to 5"):
        draw(Pauses(tokens=(6,), longest=1), EMPTY)
    with pytest.raises(ValueError, match="some, not all"):
        draw(Pauses(tokens=tuple(range(6)), longest=1), EMPTY)
    with pytest.raises(ValueError, match="longest pause is 0"):
        Pauses(tokens=(1,), longest=0)
    with pytest.raises(ValueError, match="different semantic tokens"):
        Pauses(tokens=(1, 1))
    assert SamplingOptions().pauses == Pauses()
