"""Models of two stages, as AudioLM on piano: the coarse stage draws every level of the codec."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from audiolm_tiny import CODES, N_COARSE, noise, tiny_model

from audiolm.checkpoint import CheckpointError
from audiolm.codebook_start import start_stage_from_codebooks
from audiolm.codec import CodecConfig, SoundStream
from audiolm.model import AudioLM
from audiolm.optimisation import OptimiserConfig
from audiolm.presets import load_preset
from audiolm.train_stages import StageTask, StageTraining, TokenisedUtterance


def two_stages() -> AudioLM:
    parts = tiny_model().parts
    with torch.random.fork_rng():
        torch.manual_seed(1)
        codec = SoundStream(CodecConfig(channels=2, latent_dim=8, n_levels=N_COARSE, codebook_size=CODES)).eval()
        codec.quantizer.initialise(torch.randn(200, 8), torch.Generator().manual_seed(0))
    return AudioLM(parts._replace(codec=codec, fine=None, parallel=None, delayed=None))


def test_two_stages_do_all_that_three_do() -> None:
    model = two_stages()
    assert model.parts.levels == N_COARSE
    prompt = noise(16_000, 0)
    clips = model.continuation([prompt, noise(9_000, 1)], seconds=0.5, seeds=[3, 4])
    assert [len(clip) for clip in clips] == [8_000, 8_000]
    (alone,) = model.continuation([prompt], seconds=0.5, seeds=[3])
    np.testing.assert_allclose(clips[0], alone, atol=1e-5)
    assert len(model.unconditional(1, 0.5, [0])[0]) == 8_000
    (again,) = model.acoustic_generation([prompt], [0])
    assert len(again) == len(prompt)
    assert len(model.resynthesise([prompt])[0]) == len(prompt)


def test_streaming_gives_the_whole_in_pieces() -> None:
    model = two_stages()
    prompt = noise(12_000, 2)
    (whole,) = model.continuation([prompt], seconds=2.5, seeds=[5])
    pieces = list(model.stream(prompt, seconds=2.5, seed=5))
    assert len(pieces) == 3
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-5)


def test_a_folder_of_two_stages_is_read_back(tmp_path: Path) -> None:
    model = two_stages()
    model.save_pretrained(tmp_path / "piano")
    assert not (tmp_path / "piano" / "stage_fine").exists()
    loaded = AudioLM.from_pretrained(tmp_path / "piano")
    described = loaded.describe()
    assert set(described["stages"]) == {"semantic", "coarse"}
    assert set(described["parts"]) == {"codec", "semantic", "stage_semantic", "stage_coarse"}


def test_a_lost_fine_stage_is_not_taken_for_a_model_of_two(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path / "speech")
    for file in (tmp_path / "speech" / "stage_fine").iterdir():
        file.unlink()
    (tmp_path / "speech" / "stage_fine").rmdir()
    with pytest.raises(CheckpointError, match="stage_fine"):
        AudioLM.from_pretrained(tmp_path / "speech")


@pytest.mark.parametrize("kind", ["semantic", "coarse"])
def test_stages_train_on_codes_of_a_codec_with_few_levels(kind: str) -> None:
    """Three levels are all there is; the levels of a fine stage are not asked for."""
    config = load_preset("piano-nano").stages[kind]
    small = replace(config.transformer, layers=1, heads=2, dim=16, ff_dim=16)
    rng = np.random.default_rng(0)
    heard = [TokenisedUtterance(rng.integers(0, 64, 60), rng.integers(0, 1_024, (3, 120))) for _ in range(2)]
    training = StageTraining(optimiser=OptimiserConfig(steps=2), batch=2)
    task = StageTask(heard, heard, replace(config, transformer=small, window=40), training)
    assert np.isfinite(task.training_step(0)["loss"])
    if kind == "coarse":
        start_stage_from_codebooks(task.model, torch.randn(3, 1_024, 8), torch.Generator().manual_seed(0))
        short = [TokenisedUtterance(row.semantic, row.codes[:2]) for row in heard]
        with pytest.raises(ValueError, match="give .frame. and .3, frame."):
            StageTask(short, short, config, training)


@pytest.mark.parametrize(("name", "codes"), [("piano", 16_384), ("piano-nano", 1_024)])
def test_piano_presets_have_three_levels_and_two_stages(name: str, codes: int) -> None:
    preset = load_preset(name)
    assert preset.parts == ("codec", "w2v-bert", "semantic", "stage-semantic", "stage-coarse", "model")
    assert (preset.codec.n_levels, preset.codec.codebook_size, preset.kind) == (3, codes, "piano")
    layout = preset.stages["coarse"].layout
    assert (layout.n_coarse, layout.codebook_size) == (preset.codec.n_levels, codes)
    assert preset.codec.hop == 320
    assert set(preset.shares) == {part for part in preset.parts if part not in ("semantic", "model")}
