"""The whole pipeline with random tiny weights: lengths, seeds, batches, saving and loading."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from audiolm.checkpoint import CheckpointError
from audiolm.codec import CodecConfig, SoundStream
from audiolm.generate import Parts
from audiolm.model import AudioLM
from audiolm.sampling import SamplingOptions, StageSampling
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.quantizer import QuantizerConfig
from audiolm.semantic.tokenizer import TokenizerConfig, W2vBertTokenizer, encode_long
from audiolm.semantic.w2v_bert import FRAME_SAMPLES, W2vBertConfig
from audiolm.stages import Stage, StageConfig
from audiolm.tokens import Layout
from audiolm.transformer import TransformerConfig

N_SEMANTIC, N_COARSE, N_FINE, CODES = 12, 2, 3, 16
WINDOWS = {"semantic": 20, "coarse": 20, "fine": 10}


def tiny_stage(kind: str, *, paper: bool) -> Stage:
    layout = Layout(
        kind=kind,  # type: ignore[arg-type]
        n_semantic=N_SEMANTIC,
        n_coarse=N_COARSE,
        n_fine=N_FINE,
        codebook_size=CODES,
        time_positions=not paper,
    )
    plain = TransformerConfig(layers=2, heads=2, dim=16, ff_dim=24)
    fast = dataclasses.replace(plain, positions="rope", norm="rms", feed_forward="gated", qk_norm=True)
    deduplicated = paper and kind != "fine"
    config = StageConfig(
        layout=layout,
        transformer=plain if paper else fast,
        window=WINDOWS[kind],
        deduplicate=deduplicated,
        frames_per_token=1.7 if deduplicated else 1.0,
        aligned=not paper and kind != "semantic",
    )
    return Stage(config).eval()


def tiny_model(*, paper: bool = False) -> AudioLM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stack = ConformerConfig(dim=16, heads=2, layers=2)
        network = W2vBertConfig(contrastive=stack, masked=stack, quantizer=QuantizerConfig(codes=8), channels=4)
        tokenizer = W2vBertTokenizer.untrained(TokenizerConfig(model=network, tap_layer=1, n_tokens=N_SEMANTIC))
        codec = SoundStream(
            CodecConfig(channels=2, latent_dim=8, n_levels=N_COARSE + N_FINE + 1, codebook_size=CODES)
        ).eval()
        codec.quantizer.initialise(torch.randn(200, 8), torch.Generator().manual_seed(0))
        stages = [tiny_stage(kind, paper=paper) for kind in WINDOWS]
    return AudioLM(Parts(codec, tokenizer, *stages))


@pytest.fixture(scope="module")
def model() -> AudioLM:
    return tiny_model()


def noise(samples: int, seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


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
    greedy = SamplingOptions(**{name: StageSampling(temperature=0.0) for name in ("semantic", "coarse", "fine")})
    sampled = model.acoustic_generation([clip], [1])[0]
    assert not np.array_equal(sampled, model.acoustic_generation([clip], [2])[0])
    np.testing.assert_array_equal(
        model.acoustic_generation([clip], [1], greedy)[0], model.acoustic_generation([clip], [2], greedy)[0]
    )


def test_generation_leaves_the_global_generators_alone(model: AudioLM) -> None:
    before = torch.random.get_rng_state()
    model.unconditional(1, 0.2, [1])
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_saved_model_loads_and_says_what_it_is(tmp_path: Path) -> None:
    model = tiny_model()
    assert model.describe()["digest"] is None
    model.save_pretrained(tmp_path / "m", {"why": "test"})
    loaded = AudioLM.from_pretrained(tmp_path / "m")
    described = loaded.describe()
    assert described["digest"] == model.describe()["digest"]
    assert described["parameters"] == sum(part["parameters"] for part in described["parts"].values()) > 0
    json.dumps(described)
    again = AudioLM.from_pretrained(tmp_path / "m")
    clip = noise(3_000, 3)
    np.testing.assert_array_equal(loaded.resynthesise([clip])[0], again.resynthesise([clip])[0])


def test_an_exchanged_part_is_refused_by_name(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path)
    weights = tmp_path / "stage_fine" / "model.safetensors"
    weights.write_bytes((tmp_path / "stage_coarse" / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"stage_fine.*SHA-256"):
        AudioLM.from_pretrained(tmp_path)


def test_parts_that_were_not_trained_together_are_refused() -> None:
    parts = tiny_model().parts
    stack = parts.tokenizer.config.model  # type: ignore[attr-defined]
    other = W2vBertTokenizer.untrained(TokenizerConfig(model=stack, tap_layer=1, n_tokens=N_SEMANTIC + 1))
    with pytest.raises(CheckpointError, match="made for 12 semantic tokens, the tokenizer has 13"):
        AudioLM(parts._replace(tokenizer=other))
    with pytest.raises(CheckpointError, match="give the coarse stage"):
        AudioLM(parts._replace(coarse=parts.fine))


def test_a_missing_model_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such model folder"):
        AudioLM.from_pretrained(tmp_path / "nothing")


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
