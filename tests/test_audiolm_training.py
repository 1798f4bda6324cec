"""The training loop: a killed and resumed run draws the loss curve of an undisturbed one."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from audiolm.audio import AudioClip, write_audio
from audiolm.codec import CodecConfig, SoundStream
from audiolm.dataset import Recording, draw_crops, read_recordings
from audiolm.optimisation import OptimiserConfig
from audiolm.train_codec import CodecTask, CodecTrainingConfig
from audiolm.training import LoopConfig, train

TINY = CodecConfig(
    front_end="spectral",
    latent_dim=8,
    n_levels=2,
    codebook_size=16,
    encoder_channels=(16, 16),
    decoder_channels=(16, 16),
    encoder_units=(1, 1),
    decoder_units=(1, 1),
)
TRAINING = CodecTrainingConfig(
    optimiser=OptimiserConfig(steps=12, learning_rate=1e-3, warmup_steps=2), batch=2, seconds=0.2, quantize_from=4
)


def recordings(count: int = 3) -> list[Recording]:
    rng = np.random.default_rng(0)
    time_s = np.arange(24_000) / 16_000
    return [
        Recording(
            f"u{index}",
            f"s{index}",
            (0.3 * np.sin(2 * np.pi * (200 + 90 * index) * time_s) + 0.01 * rng.normal(size=24_000)).astype(np.float32),
        )
        for index in range(count)
    ]


def task() -> CodecTask:
    return CodecTask(TINY, TRAINING, recordings(), recordings(1))


def curve(folder: Path) -> list[tuple[str, str, str]]:
    with (folder / "log.csv").open(newline="") as stream:
        return [(row["step"], row["name"], row["value"]) for row in csv.DictReader(stream)]


def test_resume_continues_the_exact_loss_curve(tmp_path: Path) -> None:
    every = {"log_every": 1, "validate_every": 6, "save_every": 3}
    train(task(), tmp_path / "whole", LoopConfig(steps=12, **every))
    train(task(), tmp_path / "parts", LoopConfig(steps=7, **every))
    train(task(), tmp_path / "parts", LoopConfig(steps=12, **every), resume=True)
    whole = curve(tmp_path / "whole")
    parts = [row for row in curve(tmp_path / "parts") if not (row[0] == "7" and row[1].startswith("valid_"))]
    assert whole == parts
    a = SoundStream.load(tmp_path / "whole" / "export").state_dict()
    b = SoundStream.load(tmp_path / "parts" / "export").state_dict()
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_training_lowers_the_held_out_distance(tmp_path: Path) -> None:
    learner = task()
    before = learner.validate()["mel"]
    record = train(learner, tmp_path, LoopConfig(steps=12, log_every=4, validate_every=12, save_every=12))
    assert record["validation"]["mel"] < before
    assert 0 < record["validation"]["code_entropy_bit"] <= 4


def test_a_used_folder_is_refused_without_resume(tmp_path: Path) -> None:
    train(task(), tmp_path, LoopConfig(steps=1))
    with pytest.raises(ValueError, match="--resume"):
        train(task(), tmp_path, LoopConfig(steps=2))


def test_crops_depend_on_nothing_but_the_generator() -> None:
    a = draw_crops(recordings(), batch=4, length=800, rng=np.random.default_rng([1, 2]))
    b = draw_crops(recordings(), batch=4, length=800, rng=np.random.default_rng([1, 2]))
    c = draw_crops(recordings(), batch=4, length=800, rng=np.random.default_rng([1, 3]))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert draw_crops(recordings(), batch=1, length=30_000, rng=np.random.default_rng(0)).shape == (1, 30_000)


def test_training_manifest_is_checked(tmp_path: Path) -> None:
    clip = AudioClip.from_array(np.full(8000, 0.1), 8000)
    write_audio(tmp_path / "a.wav", clip)
    manifest = tmp_path / "manifest.csv"
    rows = "\n".join(f"u{n},a.wav,speech,train,alice" for n in range(4))
    manifest.write_text(f"utterance_id,path,kind,split,speaker\n{rows}\n")
    found = read_recordings(manifest, split="train", sample_rate_hz=16_000, max_seconds_per_speaker=1.5)
    assert [len(item.samples) for item in found] == [16_000, 16_000]
    with pytest.raises(ValueError, match="no speech row has split 'dev'"):
        read_recordings(manifest, split="dev", sample_rate_hz=16_000)
    with pytest.raises(ValueError, match="no such manifest"):
        read_recordings(tmp_path / "none.csv", split="train", sample_rate_hz=16_000)
    manifest.write_text("utterance_id,path,kind\nu,a.wav,speech\n")
    with pytest.raises(ValueError, match="lacks speaker, split"):
        read_recordings(manifest, split="train", sample_rate_hz=16_000)
