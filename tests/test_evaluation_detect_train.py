"""``detect-train``: what its file may say, and that every bad file is one sentence; small neural generators."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import evaluation.detector_training
from detectors.labelled import LabelledClip
from detectors.mel_cnn import DETECTOR
from detectors.networks.mel_cnn import MelCnnConfig
from detectors.training import TrainConfig
from evaluation.cli import main
from evaluation.detector_neural import NeuralGenerator, resynthesise, train_generator
from evaluation.detector_training import TrainingPlan
from evaluation.detector_vocoders import further_vocoders

RECIPE = Path(__file__).parents[1] / "recipes" / "detector.toml"


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[TrainingPlan]:
    plans: list[TrainingPlan] = []

    def keep(plan: TrainingPlan) -> dict[str, float]:
        plans.append(plan)
        return {"eer_interpolated": 0.25}

    monkeypatch.setattr(evaluation.detector_training, "train_detector", keep)
    return plans


def config(folder: Path, more: str = "") -> Path:
    (folder / "corpus").mkdir(exist_ok=True)
    (folder / "corpus" / "manifest.csv").write_text("")
    path = folder / "c.toml"
    names = "\n".join(f'{name} = "{folder / name}"' for name in ("corpus", "cache", "out"))
    path.write_text(f"{names}\n{more}\n")
    return path


def test_settings_reach_the_plan_and_options_override_them(tmp_path, planned, capsys):
    more = 'steps = 7\nshare = 1\ngenerations = ["a"]\nleave_out = "x"\n[codecs]\nold = "b"'
    arguments = ["detect-train", str(config(tmp_path, more)), "--leave-out", "espeak", "--out", str(tmp_path / "o")]
    assert main(arguments) == 0
    (plan,) = planned
    assert (plan.steps, plan.share, plan.leave_out, plan.out) == (7, 1.0, "espeak", tmp_path / "o")
    assert plan.generations == (Path("a"),) and plan.codecs == {"old": Path("b")}
    assert "eer_interpolated     0.2500" in capsys.readouterr().out


def test_the_recipe_of_the_repository_is_read(tmp_path, planned, monkeypatch):
    (tmp_path / "here").mkdir()
    (tmp_path / "shared" / "corpus").mkdir(parents=True)
    (tmp_path / "shared" / "corpus" / "manifest.csv").write_text("")
    monkeypatch.chdir(tmp_path / "here")
    assert main(["detect-train", os.fspath(RECIPE)]) == 0
    assert planned[0].own_codec and planned[0].steps == 1000


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("stepz = 3", "unknown setting 'stepz'"),
        ("steps = true", "steps is True"),
        ("steps = 0", "steps and threads are at least 1"),
        ("share = 9", "share lies in (0, 4]"),
        ("steps = ", "is not TOML"),
    ],
)
def test_bad_files_are_one_sentence_and_exit_2(tmp_path, planned, capsys, more, says):
    assert main(["detect-train", str(config(tmp_path, more))]) == 2
    assert says in capsys.readouterr().err and not planned
    (tmp_path / "c.toml").write_text('corpus = "x"\ncache = "y"\nout = "z"')
    assert main(["detect-train", str(tmp_path / "c.toml")]) == 2
    assert "holds no manifest.csv" in capsys.readouterr().err


def spectrum_db(samples: np.ndarray) -> np.ndarray:
    frames = samples[:11_776].reshape(-1, 512) * np.hanning(512)
    return 20.0 * np.log10(np.abs(np.fft.rfft(frames)) + 1e-2)


@pytest.mark.parametrize(("front", "back"), [("wave", "transposed"), ("wave", "stft"), ("mel", "stft")])
def test_small_neural_generators_learn_keep_length_and_level_and_follow_their_seed(front, back):
    rng = np.random.default_rng(0)
    time_s = np.arange(12_000) / 16_000
    recordings = [
        (0.3 * np.sin(2 * np.pi * hz * time_s) + 0.01 * rng.standard_normal(12_000)).astype(np.float32)
        for hz in (200, 330)
    ]
    plan = NeuralGenerator(front=front, back=back, hop=100, width=16, latent=8, bands=24)
    made = [
        resynthesise(train_generator(plan, recordings, seed=1, steps=steps), recordings[0]) for steps in (1, 30, 30)
    ]
    np.testing.assert_array_equal(made[1], made[2])
    assert made[0].shape == recordings[0].shape and np.abs(made[1]).max() <= 1.0
    wanted = spectrum_db(recordings[0])
    errors = [np.abs(spectrum_db(one) - wanted).mean() for one in made[:2]]
    assert errors[1] < errors[0] - 0.3
    with pytest.raises(ValueError, match="no recording is longer"):
        train_generator(plan, [recordings[0][:100]], seed=0, steps=1)


def test_world_keeps_length_and_loudness_where_it_is_installed():
    pytest.importorskip("pyworld")
    time_s = np.arange(16_000) / 16_000
    samples = (0.2 * np.sign(np.sin(2 * np.pi * 120 * time_s)) * np.sin(2 * np.pi * 2 * time_s)).astype(np.float32)
    made = further_vocoders()["world"](samples, np.random.default_rng(0))
    assert made.shape == samples.shape and made.dtype == np.float32
    assert 0.3 < np.std(made) / np.std(samples) < 3.0


def clips() -> list[LabelledClip]:
    """Bursts of white noise as bona fide, of brown noise as synthetic; 2.6 s, three speakers per split and class."""
    rng = np.random.default_rng(0)
    time_s = np.arange(41_600) / 16_000
    made = []
    for split in ("train", "held", "test"):
        for index in range(6):
            noise = rng.standard_normal(time_s.size)
            noise = np.cumsum(noise) / 60.0 if index % 2 else noise
            samples = (0.05 * noise * (np.sin(2 * np.pi * 3.0 * time_s) ** 2 + 0.01)).astype(np.float32)
            generator = "world" if index % 2 else "bona_fide"
            name = f"{split}-{index}"
            made.append(
                LabelledClip(samples=samples, generator=generator, speaker_id=name, utterance_id=name, split=split)
            )
    return made


@pytest.mark.usefixtures("everything_is_speech")
def test_a_training_from_plan_to_card_is_whole_and_the_same_again(tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation.detector_training, "build_clips", lambda *arguments: clips())
    monkeypatch.setattr(evaluation.detector_training, "codecs", lambda named, own: {})
    monkeypatch.setattr(evaluation.detector_training, "noise_recordings", lambda corpus: [])
    monkeypatch.setattr(evaluation.detector_training, "AUDIT_BATCHES", 2)
    small = partial(TrainConfig, batch=12, network=MelCnnConfig(widths=(4, 4, 6, 6, 8, 8)))
    monkeypatch.setattr(evaluation.detector_training, "TrainConfig", small)
    threads = torch.get_num_threads()
    config(tmp_path)
    outputs = []
    for name in ("one", "two"):
        plan = TrainingPlan(
            corpus=tmp_path / "corpus", cache=tmp_path / f"cache-{name}", out=tmp_path / name, steps=40, threads=threads
        )
        measures = evaluation.detector_training.train_detector(plan)
        outputs.append({path.name: path.read_bytes() for path in plan.out.iterdir()})
    assert outputs[0] == outputs[1] and set(measures) >= {"eer_interpolated", "cllr_bits"}
    detector = DETECTOR.load(str(tmp_path / "one"))
    assert set(detector.describe()["training"]["shortcuts"]) >= {"level_dbfs", "bandwidth_hz"}  # type: ignore[index]
    card = (tmp_path / "one" / "README.md").read_text()
    assert "| world | raw | raw |" in card and "## Shortcuts" in card
