"""The whole pipeline with random tiny weights: lengths, seeds, batches, both decoders, streams, ends."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from audiolm_tiny import noise, tiny_model

from audiolm.decoding import PieceDecoder, decode_codes
from audiolm.model import AudioLM
from audiolm.pipeline import Decoder
from audiolm.sampling import SamplingOptions, StageSampling
from audiolm.semantic.tokenizer import encode_long
from audiolm.semantic.w2v_bert import FRAME_SAMPLES
from audiolm.stages import Stage

LIKELIEST = StageSampling(temperature=0.0)
SEMANTIC_CROP = 20 * FRAME_SAMPLES
"""The tiny stages' longest window in samples."""
PROMPTS = (1, 800, SEMANTIC_CROP - 1, SEMANTIC_CROP, SEMANTIC_CROP + 1, 3 * SEMANTIC_CROP + 7)


@pytest.fixture(scope="module")
def model() -> AudioLM:
    return tiny_model()


@pytest.mark.parametrize("samples", [1, FRAME_SAMPLES - 1, FRAME_SAMPLES, FRAME_SAMPLES + 1, 10 * FRAME_SAMPLES + 1])
def test_modes_that_follow_a_recording_keep_its_length(model: AudioLM, samples: int) -> None:
    clip = noise(samples, 1)
    for made in (model.resynthesise([clip]), model.acoustic_generation([clip], [3])):
        assert made[0].shape == (samples,) and made[0].dtype == np.float32 and np.isfinite(made[0]).all()


@pytest.mark.parametrize("paper", [False, True])
@pytest.mark.parametrize("seconds", [0.01, 0.5, 1.234])
def test_continuations_are_exactly_as_long_as_asked(paper: bool, seconds: float) -> None:
    made = tiny_model(paper=paper).continuation([noise(1, 1), noise(9_001, 2)], seconds, [3, 4])
    assert [len(clip) for clip in made] == [round(seconds * 16_000)] * 2


def test_unconditional_clips_differ_by_seed_and_repeat_with_it(model: AudioLM) -> None:
    first = model.unconditional(2, 0.6, [1, 2])
    again = model.unconditional(2, 0.6, [1, 2])
    assert len(first[0]) == 9_600
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], first[1])


def test_an_item_is_drawn_alike_alone_and_in_any_batch(model: AudioLM) -> None:
    clips = [noise(n, n) for n in (700, 20_001, 8_000)]
    seeds = [5, 6, 7]
    together = model.acoustic_generation(clips, seeds)
    backwards = model.acoustic_generation(clips[::-1], seeds[::-1])[::-1]
    alone = [model.acoustic_generation([clip], [seed])[0] for clip, seed in zip(clips, seeds, strict=True)]
    for a, b, c in zip(together, backwards, alone, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(a, c)


def test_a_continuation_in_a_batch_equals_the_one_alone(model: AudioLM) -> None:
    prompts = [noise(16_000, 1), noise(5_000, 2)]
    together = model.continuation(prompts, 0.7, [8, 9])
    alone = [model.continuation([prompt], 0.7, [seed])[0] for prompt, seed in zip(prompts, [8, 9], strict=True)]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_array_equal(a, b)


def test_seed_and_temperature_reach_the_sound(model: AudioLM) -> None:
    clip = noise(8_000, 1)
    greedy = SamplingOptions(semantic=LIKELIEST, coarse=LIKELIEST, fine=LIKELIEST)
    sampled = model.acoustic_generation([clip], [1])[0]
    assert not np.array_equal(sampled, model.acoustic_generation([clip], [2])[0])
    np.testing.assert_array_equal(
        model.acoustic_generation([clip], [1], greedy)[0], model.acoustic_generation([clip], [2], greedy)[0]
    )


def test_generation_leaves_the_global_generators_alone(model: AudioLM) -> None:
    before = torch.random.get_rng_state()
    model.unconditional(1, 0.2, [1])
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (np.zeros(0, dtype=np.float32), "clip 0 holds 0 samples"),
        (np.zeros((2, 5), dtype=np.float32), "clip 0 is float32 of shape"),
        (np.zeros(5, dtype=np.int16), "clip 0 is int16"),
        (np.array([0.0, np.nan], dtype=np.float32), "NaN"),
    ],
)
def test_unusable_clips_are_refused(model: AudioLM, clip: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model.resynthesise([clip])


def test_unusable_requests_are_refused(model: AudioLM) -> None:
    with pytest.raises(ValueError, match="1 seeds for 2 clips"):
        model.acoustic_generation([noise(10, 1)] * 2, [1])
    with pytest.raises(ValueError, match="seconds is 0"):
        model.continuation([noise(10, 1)], 0.0, [1])
    with pytest.raises(ValueError, match="temperature is -1"):
        StageSampling(temperature=-1.0)


def test_no_clips_give_no_clips(model: AudioLM) -> None:
    assert model.resynthesise([]) == model.acoustic_generation([], []) == model.continuation([], 1.0, []) == []


def test_long_recordings_are_tokenised_in_blocks(model: AudioLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiolm.semantic.tokenizer.BLOCK_FRAMES", 10)
    monkeypatch.setattr("audiolm.semantic.tokenizer.SIDE_FRAMES", 2)
    for samples in (10 * FRAME_SAMPLES, 10 * FRAME_SAMPLES + 1, 25 * FRAME_SAMPLES - 3):
        tokens = encode_long(model.parts.tokenizer, torch.from_numpy(noise(samples, 4)))
        assert len(tokens) == -(-samples // FRAME_SAMPLES)


@pytest.mark.parametrize("decoder", ["autoregressive", "parallel", "delayed"])
@pytest.mark.parametrize("samples", PROMPTS)
def test_prompts_of_any_length_are_continued(model: AudioLM, samples: int, decoder: Decoder) -> None:
    made = model.continuation([noise(samples, 1)], 0.3, [1], decoder=decoder)[0]
    assert made.shape == (4_800,) and np.isfinite(made).all() and np.abs(made).max() <= 1.0


def test_of_a_long_prompt_its_end_is_heard(model: AudioLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audiolm.generate.PROMPT_FRAMES", 25)
    prompt = noise(40 * FRAME_SAMPLES + 5, 1)
    whole, end = model.continuation([prompt, prompt[-25 * FRAME_SAMPLES :]], 0.2, [1, 1])
    np.testing.assert_array_equal(whole, end)


@pytest.mark.parametrize("decoder", ["autoregressive", "parallel", "delayed"])
def test_clips_longer_than_any_window_are_made(model: AudioLM, decoder: Decoder) -> None:
    made = model.unconditional(1, 2.5, [1], decoder=decoder)[0]
    again = model.acoustic_generation([made], [2], decoder=decoder)[0]
    assert made.shape == again.shape == (40_000,)
    assert len(np.unique(again[-8_000:])) > 1_000


def test_the_parallel_decoder_draws_an_item_alike_in_any_batch(model: AudioLM) -> None:
    prompts = [noise(6_000, 1), noise(3_000, 2), noise(1, 3)]
    together = model.continuation(prompts, 0.6, [8, 9, 10], decoder="parallel")
    for index, (prompt, seed) in enumerate(zip(prompts, (8, 9, 10), strict=True)):
        alone = model.continuation([prompt], 0.6, [seed], decoder="parallel")[0]
        np.testing.assert_array_equal(together[index], alone)
    assert not np.array_equal(together[0], model.continuation(prompts[:1], 0.6, [8])[0])


def test_a_decoder_that_is_not_there_is_refused(model: AudioLM) -> None:
    without = AudioLM(model.parts._replace(parallel=None, delayed=None))
    assert without.decoders == ("autoregressive",)
    with pytest.raises(ValueError, match="no parallel decoder"):
        without.continuation([noise(700, 1)], 0.1, [1], decoder="parallel")
    with pytest.raises(ValueError, match="no delayed decoder; it has autoregressive"):
        without.unconditional(1, 0.1, [1], SamplingOptions(decoder="delayed"))
    with pytest.raises(ValueError, match="this model has autoregressive"):
        without.stream(noise(700, 1), 0.1, 1, decoder="parallel")
    with pytest.raises(ValueError, match="decoder is 'delay'; use one of autoregressive, parallel, delayed"):
        model.unconditional(1, 0.1, [1], decoder="delay")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("paper", "decoder", "prompt_samples"),
    [
        (False, "autoregressive", None),
        (False, "autoregressive", 20_000),
        (False, "parallel", 1),
        (False, "parallel", 20_000),
        (False, "delayed", None),
        (False, "delayed", 20_000),
        (True, "autoregressive", 1),
        (True, "autoregressive", 20_000),
    ],
)
def test_streamed_pieces_are_the_whole_clip(paper: bool, decoder: Decoder, prompt_samples: int | None) -> None:
    model = tiny_model(paper=paper)
    prompt = None if prompt_samples is None else noise(prompt_samples, 1)
    pieces = list(model.stream(prompt, 1.11, 4, decoder=decoder))
    whole = (
        model.unconditional(1, 1.11, [4], decoder=decoder)
        if prompt is None
        else model.continuation([prompt], 1.11, [4], decoder=decoder)
    )
    assert len(pieces) > 2 and all(piece.dtype == np.float32 and len(piece) for piece in pieces)
    np.testing.assert_allclose(np.concatenate(pieces), whole[0], atol=1e-5)


def test_a_stream_draws_no_more_than_its_first_piece_needs(model: AudioLM, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, int] = {}
    sample = Stage.sample

    def counted(self: Stage, conditions: object, known: object, frames: Sequence[int], *rest: Any, **kw: Any) -> Any:
        drawn[self.config.layout.kind] = drawn.get(self.config.layout.kind, 0) + sum(frames)
        return sample(self, conditions, known, frames, *rest, **kw)  # type: ignore[arg-type]

    monkeypatch.setattr(Stage, "sample", counted)
    stream = model.stream(noise(16_000, 1), 60.0, 1)
    assert drawn == {}
    next(stream)
    assert drawn == {"semantic": 5, "coarse": 10, "fine": 10}


def evenly_drawn(model: AudioLM) -> AudioLM:
    """The model with a semantic stage for which every token, and the end, is equally likely."""
    semantic = copy.deepcopy(model.parts.semantic)
    with torch.no_grad():
        semantic.head.zero_()
    return AudioLM(model.parts._replace(semantic=semantic))


def test_clips_end_where_the_end_is_drawn_and_at_the_latest_as_asked(model: AudioLM) -> None:
    even = evenly_drawn(model)
    seeds = list(range(4))
    prompts = [noise(2_000, seed) for seed in seeds]
    made = even.continuation(prompts, 1.2, seeds, until_end=True)
    lengths = [len(clip) for clip in made]
    assert all(FRAME_SAMPLES <= n <= 19_200 for n in lengths) and len(set(lengths)) > 2
    full = even.continuation(prompts, 1.2, seeds)
    assert [len(clip) for clip in full] == [19_200] * 4
    for prompt, seed, clip in zip(prompts, seeds, made, strict=True):
        np.testing.assert_array_equal(even.continuation([prompt], 1.2, [seed], until_end=True)[0], clip)
        pieces = np.concatenate(list(even.stream(prompt, 1.2, seed, until_end=True)))
        np.testing.assert_allclose(pieces, clip, atol=1e-5)
    free = even.unconditional(4, 1.2, seeds, until_end=True)
    assert len({len(clip) for clip in free}) > 2


def test_long_codes_are_decoded_in_pieces_as_in_one_go(model: AudioLM, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = noise(30_000, 5)
    whole = model.resynthesise([clip])[0]
    monkeypatch.setattr("audiolm.decoding.PIECE_FRAMES", 13)
    np.testing.assert_allclose(model.resynthesise([clip])[0], whole, atol=1e-5)
    continued = model.continuation([clip], 1.0, [1])[0]
    monkeypatch.undo()
    np.testing.assert_allclose(continued, model.continuation([clip], 1.0, [1])[0], atol=1e-5)


class _Smoother:
    """A codec that looks both ways: each sample is the mean of its frame's first code and those 20 frames around."""

    hop, sample_rate_hz, frame_rate_hz, n_levels, codebook_size = 320, 16_000, 50.0, 5, 16

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        track = codes[:, :1].float() / 16
        smooth = torch.nn.functional.conv1d(track, torch.full((1, 1, 41), 1 / 41), padding=20)
        return smooth[:, 0].repeat_interleave(self.hop, dim=1)


def test_a_foreign_codec_is_decoded_in_pieces_with_what_lies_around_them() -> None:
    codec: Any = _Smoother()
    codes = np.random.default_rng(0).integers(16, size=(5, 333))
    whole = decode_codes(codec, codes[:, 100:], torch.device("cpu"), codes[:, :100])
    pieces = PieceDecoder(codec, torch.device("cpu"), codes[:, :100])
    edges = [100, 101, 110, 250, 333]
    made = [pieces.push(codes[:, a:b], last=b == 333) for a, b in zip(edges, edges[1:], strict=False)]
    np.testing.assert_allclose(np.concatenate(made), whole, atol=1e-6)
    assert whole.shape == (233 * 320,)
