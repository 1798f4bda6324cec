"""Training on recordings of length 0, 1, crop - 1, crop and crop + 1: every task takes its crops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_tasks import CODEC, OPTIMISER, W2V_BERT, recordings, stage_task

from audiolm.audio import AudioClip, write_audio
from audiolm.dataset import Recording, draw_crops, read_recordings
from audiolm.parallel import ParallelConfig
from audiolm.semantic.conformer import ConformerConfig
from audiolm.train_codec import CodecTask, CodecTrainingConfig
from audiolm.train_parallel import ParallelTask, ParallelTraining
from audiolm.train_semantic import W2vBertTask, W2vBertTraining
from audiolm.train_stages import StageTask, StageTraining, TokenisedUtterance

CROP = 3_200
AROUND = [1, CROP - 1, CROP, CROP + 1]


def ramp(length: int) -> Recording:
    """Samples that tell where they come from: 1, 2, 3, ..."""
    return Recording("u", "s", np.arange(1, length + 1, dtype=np.float32))


@pytest.mark.parametrize("length", AROUND)
def test_a_crop_is_a_stretch_of_the_recording_and_silence_where_it_ends(length: int) -> None:
    crops = draw_crops([ramp(length)], batch=8, length=CROP, rng=np.random.default_rng(0))
    assert crops.shape == (8, CROP)
    taken = min(length, CROP)
    for crop in crops:
        heard = crop[crop != 0]
        assert len(heard) == taken and bool((heard.diff() == 1).all())
        assert 1 <= int(heard[0]) <= max(1, length - CROP + 1)
    starts = {int(crop[crop != 0][0]) for crop in crops}
    assert starts == ({1, 2} if length == CROP + 1 else {1})


def test_an_empty_recording_is_never_drawn() -> None:
    with pytest.raises(ValueError, match="1 recordings hold no samples; give at least one"):
        draw_crops([ramp(0)], batch=1, length=CROP, rng=np.random.default_rng(0))
    crops = draw_crops([ramp(0), ramp(2)], batch=50, length=2, rng=np.random.default_rng(0))
    assert bool((crops == torch.tensor([1.0, 2.0])).all())


@pytest.mark.parametrize("length", AROUND)
def test_the_codec_trains_on_a_recording_of_any_length(length: int) -> None:
    training = CodecTrainingConfig(
        optimiser=OPTIMISER, batch=2, seconds=CROP / 16_000, quantize_from=9, start_seconds=2
    )
    short = Recording("u", "s", recordings(1)[0].samples[:length])
    task = CodecTask(replace(CODEC, codebook_size=4), training, [short], [short])
    assert all(np.isfinite(task.training_step(step)["mel"]) for step in range(2))


@pytest.mark.parametrize("length", AROUND)
def test_w2v_bert_trains_on_speech_of_any_length(length: int) -> None:
    training = W2vBertTraining(optimiser=OPTIMISER, batch=2, crop_s=CROP / 16_000, validation_crops=2)
    whole = recordings(1)[0].samples
    task = W2vBertTask([whole, whole[:length]], [whole], W2V_BERT, training)
    assert np.isfinite(list(task.training_step(0).values())).all()


def tokens(semantic: int, levels: int = 4, codes: int = 5) -> TokenisedUtterance:
    rng = np.random.default_rng(semantic)
    return TokenisedUtterance(rng.integers(0, 6, semantic), rng.integers(0, codes, (levels, 2 * semantic)))


@pytest.mark.parametrize("semantic", [1, 11, 12, 13])
def test_stages_train_on_an_utterance_of_any_length(semantic: int) -> None:
    """The coarse window is 24 frames, 12 semantic tokens."""
    made = stage_task()
    assert made.config.window == 24
    rows = [tokens(semantic)]
    task = StageTask(rows, rows, made.config, StageTraining(optimiser=OPTIMISER, batch=2, validation_batches=1))
    assert np.isfinite(task.training_step(0)["loss"]) and np.isfinite(task.validate()["loss"])
    crop = task._crop(rows[0], np.random.default_rng(0))
    assert crop[1].shape == (2, min(24, 2 * semantic))


@pytest.mark.parametrize("semantic", [1, 11, 12, 13])
def test_the_parallel_decoder_trains_on_an_utterance_of_any_length(semantic: int) -> None:
    stack = ConformerConfig(dim=16, heads=2, layers=1, ff_factor=1, kernel=3)
    config = ParallelConfig(
        n_semantic=6, n_coarse=2, n_levels=4, codebook_size=5, code_dim=8, window=24, conformer=stack
    )
    rows = [tokens(semantic)]
    task = ParallelTask(rows, rows, config, ParallelTraining(optimiser=OPTIMISER, batch=2, validation_batches=1))
    assert np.isfinite(task.training_step(0)["loss"]) and np.isfinite(task.validate()["loss"])


def test_an_empty_file_is_no_training_recording(tmp_path: Path) -> None:
    """It is refused by name when the manifest is read, not in the midst of a training."""
    write_audio(tmp_path / "a.wav", AudioClip.from_array(np.full(8000, 0.1), 16_000))
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "empty.wav").write_bytes(whole[:40] + (0).to_bytes(4, "little"))
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("utterance_id,path,kind,split,speaker\na,a.wav,speech,train,x\nb,empty.wav,speech,train,y\n")
    with pytest.raises(ValueError, match="empty.wav"):
        read_recordings(manifest, split="train", sample_rate_hz=16_000)
