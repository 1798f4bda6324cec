"""Training the magnitude front end: its start, its objective, its discriminators."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from audiolm.codec import CodecConfig, SoundStream
from audiolm.codec.magnitude import MagnitudeDecoder, MagnitudeEncoder
from audiolm.codec.magnitude_discriminator import MagnitudeDiscriminator
from audiolm.codec.objectives import MagnitudeObjective, WaveformObjective, objective_for
from audiolm.codec_adversary import AdversaryConfig
from audiolm.dataset import Recording
from audiolm.optimisation import OptimiserConfig
from audiolm.train_codec import CodecTask, CodecTrainingConfig
from audiolm.training import LoopConfig, train

TINY = CodecConfig(
    front_end="magnitude",
    latent_dim=8,
    n_levels=2,
    codebook_size=16,
    encoder_channels=(16, 16),
    decoder_channels=(16, 16),
    encoder_units=(1, 1),
    decoder_units=(1, 1),
)
OPTIMISER = OptimiserConfig(steps=8, learning_rate=1e-3, warmup_steps=2)
TRAINING = CodecTrainingConfig(optimiser=OPTIMISER, batch=2, seconds=0.2, start_seconds=20)
ADVERSARIAL = replace(TRAINING, adversary=AdversaryConfig(start=2))


def recordings(count: int) -> list[Recording]:
    """Two tones per recording whose level rises and falls."""
    rng = np.random.default_rng(0)
    time_s = np.arange(8_000) / 16_000
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time_s)
    tones = [
        np.sin(2 * np.pi * (200 + 90 * i) * time_s) + np.sin(2 * np.pi * (900 + 70 * i) * time_s) for i in range(9)
    ]
    return [
        Recording(f"u{i}", f"s{i}", (0.2 * swell * tones[i] + 0.01 * rng.normal(size=8_000)).astype(np.float32))
        for i in range(count)
    ]


def task(config: CodecTrainingConfig = TRAINING, start: SoundStream | None = None) -> CodecTask:
    return CodecTask(TINY, config, recordings(4), recordings(1), start)


def test_training_starts_from_the_principal_components() -> None:
    """Against scikit-learn's, fitted on the crops' own frame pairs."""
    from sklearn.decomposition import PCA

    fresh = task()
    encoder, decoder = fresh.codec.encoder, fresh.codec.decoder
    assert isinstance(encoder, MagnitudeEncoder) and isinstance(decoder, MagnitudeDecoder)
    crops = fresh._crops(20, 1.0, np.random.default_rng([0, 1_000_000_007, 1]))
    with torch.inference_mode():
        x = encoder.log_magnitudes(crops) * 0.5 + 1.0
        pairs = torch.cat([x[:, :, 0::2], x[:, :, 1::2]], dim=1).transpose(1, 2).flatten(0, 1)
        latents = encoder.linear(x).transpose(1, 2).flatten(0, 1)
    oracle = PCA(n_components=TINY.latent_dim, svd_solver="covariance_eigh").fit(pairs.numpy())
    expected = torch.from_numpy(oracle.transform(pairs.numpy())) / float(np.sqrt(oracle.explained_variance_.mean()))
    for ours, theirs in zip(latents.T, expected.T, strict=True):
        assert abs(float(torch.corrcoef(torch.stack([ours, theirs]))[0, 1])) > 0.999
        assert float(ours.std() / theirs.std()) == pytest.approx(1.0, abs=0.01)


def test_losses_are_zero_for_the_target_itself_and_grow_with_distance() -> None:
    objective = objective_for(TINY)
    assert isinstance(objective, MagnitudeObjective)
    target = torch.randn(2, 321, 10, generator=torch.Generator().manual_seed(0))
    assert all(float(value) == 0 for value in objective.losses(target, target).values())
    near, far = objective.losses(target + 0.1, target), objective.losses(target + 0.5, target)
    assert float(near["log_magnitude"]) == pytest.approx(0.1, abs=1e-5)
    assert all(far[name] > near[name] > 0 for name in objective.WEIGHTS)


def test_an_objective_refuses_another_front_end() -> None:
    spectral = replace(TINY, front_end="spectral")
    assert isinstance(objective_for(spectral), WaveformObjective)
    with pytest.raises(ValueError, match="magnitude front end"):
        MagnitudeObjective(TINY).target(SoundStream(spectral), torch.zeros(1, 640))
    with pytest.raises(ValueError, match="loss weights for"):
        task(replace(TRAINING, loss_weights=(("mel", 2.0),)))


def test_discriminator_gives_logits_and_features_of_both_sides_alike() -> None:
    network = MagnitudeDiscriminator(channels=4)
    judgement = network(torch.zeros(3, 321, 20))
    assert [len(logits) for logits in judgement.logits] == [3, 3]
    assert [len(features) for features in judgement.features] == [4, 4]
    with pytest.raises(ValueError, match="batch, bin, frame"):
        network(torch.zeros(3, 321))


@pytest.mark.parametrize("config", [TRAINING, ADVERSARIAL], ids=["reconstruction", "adversarial"])
def test_a_resumed_run_continues_exactly(config: CodecTrainingConfig, tmp_path: Path) -> None:
    every = {"log_every": 1, "validate_every": 8, "save_every": 2}
    train(task(config), tmp_path / "whole", LoopConfig(steps=8, **every))
    train(task(config), tmp_path / "parts", LoopConfig(steps=5, **every))
    train(task(config), tmp_path / "parts", LoopConfig(steps=8, **every), resume=True)
    whole, parts = (SoundStream.load(tmp_path / name / "export").state_dict() for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_discriminators_join_at_their_step_and_learn() -> None:
    running = task(ADVERSARIAL)
    assert running.adversary is not None
    before = {name: value.clone() for name, value in running.adversary.discriminator.state_dict().items()}
    reports = [running.training_step(step) for step in range(4)]
    assert ["discriminator" in report for report in reports] == [False, False, True, True]
    after = running.adversary.discriminator.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_the_balance_of_gradients_can_be_switched_off() -> None:
    """Unbalanced, the adversarial losses are plain weighted terms: the first contested step tells the two apart."""
    config = AdversaryConfig(start=0)
    balanced, plain = (
        task(replace(ADVERSARIAL, adversary=replace(config, balanced=choice))) for choice in (True, False)
    )
    first, second = (running.training_step(0) for running in (balanced, plain))
    assert first["log_magnitude"] == second["log_magnitude"] and first["adversarial"] == second["adversarial"]
    assert first["grad_norm"] != pytest.approx(second["grad_norm"], rel=1e-3)
    assert plain.adversary is not None
    target, decoded = torch.ones(2, 65, 20), torch.zeros(2, 65, 20, requires_grad=True)
    gradient = plain.adversary._combined({"features": (decoded * target).sum()}, decoded)
    torch.testing.assert_close(gradient, config.feature_share * target)


def test_decoder_only_keeps_every_code() -> None:
    first = task()
    first.training_step(0)
    start = first.codec.eval()
    second = task(replace(TRAINING, decoder_only=True), start)
    second.training_step(0)
    samples = torch.from_numpy(recordings(1)[0].samples)[None]
    assert torch.equal(start.encode(samples), second.codec.eval().encode(samples))
    before, after = start.decoder.state_dict(), second.codec.decoder.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_training_on_from_given_codebooks_keeps_them_in_place() -> None:
    first = task()
    first.training_step(0)
    books = first.codec.quantizer.codebooks.clone()
    second = task(replace(TRAINING, quantize_from=0), first.codec)
    second.training_step(0)
    moved = (second.codec.quantizer.codebooks - books).norm() / books.norm()
    assert 0 < float(moved) < 0.2
