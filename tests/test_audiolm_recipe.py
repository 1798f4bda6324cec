"""Presets and recipes: sizes as stated, settings from a file, the command line, and time budgets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_tasks import W2V_BERT

from audiolm.audio import AudioClip, write_audio
from audiolm.checkpoint import CheckpointError
from audiolm.cli import main
from audiolm.describe import describe_preset
from audiolm.presets import PRESETS, load_preset
from audiolm.recipe import PARTS, Recipe, read_recipe, train_part
from audiolm.stages import Stage

ROOT = Path(__file__).parent.parent


def test_the_paper_preset_is_as_published_and_needs_no_memory() -> None:
    facts = {item.part: item for item in describe_preset(load_preset("paper"))}
    preset = load_preset("paper")
    assert 0.55e9 < facts["w2v-bert"].parameters < 0.65e9
    assert preset.codec.bitrate_bps == 6000 and preset.codec.channels == 32
    for stage in preset.stages.values():
        shape = stage.transformer
        assert (shape.layers, shape.heads, shape.dim, shape.ff_dim, shape.positions) == (12, 16, 1024, 4096, "t5")
    blocks = 12 * (4 * 1024**2 + 2 * 1024 * 4096 + 4 * 1024)
    tables = 1024 * (1 + 2) + 32 * 16 + 1024 * 2
    assert facts["stage-semantic"].parameters == pytest.approx(blocks + tables + 2 * 1025 * 1024, rel=2e-3)


@pytest.mark.parametrize("name", PRESETS)
def test_described_arithmetic_is_that_of_the_layers(name: str) -> None:
    preset = load_preset(name)
    facts = {item.part: item for item in describe_preset(preset)}
    assert set(facts) | {"semantic", "model"} == set(preset.parts) and set(preset.parts) <= set(PARTS)
    assert set(preset.shares) == set(facts)
    for kind, stage in preset.stages.items():
        item = facts[f"stage-{kind}"]
        looked_up = stage.layout.vocabulary * stage.transformer.dim
        dense = 6 * item.tokens_per_step * (item.parameters - looked_up)
        assert 0.4 < item.flops_per_step / dense < 1.6
    assert all(item.steps > 0 and item.flops_per_step > 0 for item in facts.values())


def test_a_described_stage_has_the_weights_of_a_real_one() -> None:
    preset = load_preset("nano")
    facts = {item.part: item for item in describe_preset(preset)}
    real = sum(value.numel() for value in Stage(preset.stages["coarse"]).state_dict().values())
    assert facts["stage-coarse"].parameters == real
    with pytest.raises(ValueError, match="no preset 'tiny'; use one of nano, base, paper"):
        load_preset("tiny")


def test_describe_prints_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--describe", "--preset", "nano", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [row["part"] for row in document["parts"]][:2] == ["codec", "w2v-bert"]
    assert main(["--describe", "--preset", "nano"]) == 0
    total = sum(row["parameters"] for row in document["parts"])
    assert f"{total:,}" in capsys.readouterr().out


def test_recipe_files_name_their_faults(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text("presets = 'nano'\n")
    with pytest.raises(ValueError, match="unknown key 'presets'"):
        read_recipe(path)
    path.write_text("[stage-coarse]\nbatches = 3\n")
    recipe = Recipe(data=tmp_path, out=tmp_path, **read_recipe(path))
    with pytest.raises(CheckpointError, match="unknown key 'batches'; did you mean 'batch'"):
        recipe.training_of("stage-coarse", recipe.preset.stage_training["coarse"])
    path.write_text("seed = 5\n[stage-coarse]\nbatch = 3\n[stage-coarse.optimiser]\nlearning_rate = 0.5\n")
    recipe = Recipe(data=tmp_path, out=tmp_path, steps=10, **read_recipe(path))
    training = recipe.training_of("stage-coarse", recipe.preset.stage_training["coarse"])
    assert (training.batch, training.seed, training.optimiser.learning_rate) == (3, 5, 0.5)
    assert training.optimiser.steps == 10 and training.optimiser.warmup_steps == 2
    shipped = Recipe(data=tmp_path, out=tmp_path, **read_recipe(ROOT / "recipes" / "nano" / "nano.toml"))
    assert shipped.preset.name == "nano" and set(shipped.overrides) <= set(PARTS)


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """Two speakers of tones and noise, one held out."""
    rng = np.random.default_rng(0)
    lines = ["utterance_id,path,kind,split,speaker"]
    for index, split in enumerate(("train", "train", "dev")):
        tone = 0.2 * np.sin(np.arange(40_000) * (0.05 + 0.02 * index)) + 0.05 * rng.standard_normal(40_000)
        write_audio(tmp_path / f"{index}.wav", AudioClip.from_array(tone.clip(-1, 1), 16_000))
        lines.append(f"u{index},{index}.wav,speech,{split},s{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "manifest.csv"


def test_a_time_budget_becomes_steps_once(speech: Path, tmp_path: Path) -> None:
    preset = load_preset("nano")
    training = replace(preset.w2v_bert_training, batch=2, crop_s=0.8, validation_crops=2)
    small = replace(preset, w2v_bert=W2V_BERT, w2v_bert_training=training)
    recipe = Recipe(data=speech, out=tmp_path / "out", preset=small, budget_minutes=0.001)
    record = train_part("w2v-bert", recipe)
    plan = json.loads((tmp_path / "out" / "w2v-bert" / "plan.json").read_text())
    assert record["steps"] == plan["steps"] >= 1
    assert plan["budget_s"] == pytest.approx(0.06 * small.shares["w2v-bert"] / sum(small.shares.values()))
    (tmp_path / "out" / "w2v-bert" / "plan.json").write_text(json.dumps(plan | {"steps": plan["steps"] + 1}))
    assert train_part("w2v-bert", replace(recipe, resume=True))["steps"] == plan["steps"] + 1


def test_parts_and_arguments_are_checked(speech: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no part 'stage-four'"):
        train_part("stage-four", Recipe(data=speech, out=tmp_path))
    with pytest.raises(CheckpointError, match="codec.*no such file"):
        train_part("stage-fine", Recipe(data=speech, out=tmp_path))
    with pytest.raises(SystemExit) as stopped:
        main(["codec", "--out", str(tmp_path)])
    assert stopped.value.code == 2
