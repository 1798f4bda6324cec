"""Semantic tokenizer: shapes, losses, gradients, learning, k-means, independence of batch and padding."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from torchaudio.functional import melscale_fbanks

from audiolm.checkpoint import CheckpointError
from audiolm.optimisation import OptimiserConfig
from audiolm.semantic import bundles
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.features import LogMel, LogMelConfig, stretch_bands
from audiolm.semantic.kmeans import Clusters, assign, fit_centroids
from audiolm.semantic.quantizer import QuantizerConfig
from audiolm.semantic.tokenizer import W2vBertTokenizer, load_tokenizer
from audiolm.semantic.w2v_bert import FRAME_SAMPLES, W2vBert, W2vBertConfig, draw_mask
from audiolm.tokens import deduplicate
from audiolm.train_semantic import W2vBertTask, W2vBertTraining, fit_kmeans

STACK = ConformerConfig(dim=16, heads=2, layers=2, dropout=0.0)
TINY = W2vBertConfig(contrastive=STACK, masked=STACK, quantizer=QuantizerConfig(codes=8), channels=4, mask_span=4)


def speech_like(seconds: float, seed: int) -> np.ndarray:
    """Four pitches of 80 ms each, in turn from a random one: a hidden frame follows from those around it."""
    rng = np.random.default_rng(seed)
    pieces = []
    for pitch in (int(rng.integers(4)) + np.arange(int(seconds / 0.08))) % 4:
        t = np.arange(1280) / 16_000
        pieces.append(0.3 * np.sin(2 * np.pi * (300.0 * 2.2 ** int(pitch)) * t))
    return (np.concatenate(pieces) + 0.003 * rng.standard_normal(1280 * len(pieces))).astype(np.float32)


def job(steps: int = 30) -> W2vBertTask:
    optimiser = OptimiserConfig(steps=steps, warmup_steps=3, learning_rate=1e-2, ema_decay=0.9, weight_decay=0.0)
    training = W2vBertTraining(optimiser=optimiser, batch=4, crop_s=1.0, validation_crops=8)
    train = [speech_like(1.6, seed) for seed in range(6)]
    return W2vBertTask(train, [speech_like(1.6, 90), speech_like(0.5, 91)], TINY, training)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> tuple[W2vBertTokenizer, Path]:
    folder = tmp_path_factory.mktemp("semantic")
    task = job()
    task.training_step(0)
    task.export(folder / "w2v", {"steps": 1})
    speech = [speech_like(1.6, seed) for seed in range(3)]
    return fit_kmeans(folder / "w2v", speech, folder / "tok", n_clusters=6, tap_layer=1), folder


def test_log_mel_finds_a_tone_in_its_band_and_frame() -> None:
    config = LogMelConfig()
    time = np.arange(8_000) / 16_000
    tone = np.where(time >= 0.25, np.sin(2 * np.pi * 1_000 * time), 0.0).astype(np.float32)
    frames = LogMel(config)(torch.from_numpy(tone)[None], torch.ones(1, 50, dtype=torch.bool))[0]
    assert frames.shape == (50, 80)
    mel = 2595 * np.log10(1 + np.array([config.low_hz, 1_000, config.high_hz]) / 700)
    band = (mel[1] - mel[0]) / (mel[2] - mel[0]) * 81 - 1
    assert abs(int(frames[40].argmax()) - band) <= 1
    assert frames[22, round(band)] < 0 < frames[28, round(band)]


def test_level_does_not_change_the_features() -> None:
    wave = torch.from_numpy(speech_like(1.6, 1))[None]
    valid = torch.ones(1, wave.shape[1] // 160, dtype=torch.bool)
    mel = LogMel(LogMelConfig())
    assert (mel(wave, valid) - mel(wave * 0.5, valid)).abs().mean() < 0.01


def test_losses_are_finite_and_reach_every_weight() -> None:
    task = job()
    report = task.training_step(0)
    assert all(np.isfinite(value) for value in report.values())
    total = report["contrastive"] + report["diversity"] + report["masked"]
    assert report["total"] == pytest.approx(total, rel=1e-5)
    assert 0 <= report["diversity"] <= 1 and 1 <= report["perplexity"] <= TINY.quantizer.codes
    dead = [n for n, p in task.model.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert dead == []


def test_w2v_bert_learns_to_fill_in_masked_codes() -> None:
    task = job()
    before = task.validate()
    for step in range(30):
        task.training_step(step)
    after = task.validate()
    assert after["masked"] < 0.9 * before["masked"]
    assert after["contrastive"] < before["contrastive"]
    assert after["accuracy"] > before["accuracy"]


def test_resuming_continues_the_same_curve() -> None:
    task, other = job(), job()
    task.training_step(0)
    other.load_state_dict(copy.deepcopy(task.state_dict()))
    assert task.training_step(1) == other.training_step(1)


def test_a_loss_that_is_not_finite_stops_the_training() -> None:
    task = job()
    with torch.no_grad():
        task.model.to_code.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 0; lower the learning rate"):
        task.training_step(0)


def test_the_contrastive_weight_weighs_both_of_its_losses() -> None:
    task = job()
    light = W2vBertTask(task.train, task.dev, replace(TINY, contrastive_weight=0.2), task.training)
    report, full = light.training_step(0), task.training_step(0)
    assert report["contrastive"] == full["contrastive"] and report["masked"] == full["masked"]
    expected = 0.2 * (report["contrastive"] + report["diversity"]) + report["masked"]
    assert report["total"] == pytest.approx(expected, rel=1e-6)
    assert report["grad_norm"] < full["grad_norm"]


def test_given_labels_are_what_is_learnt() -> None:
    """Labels that say which of the four pitches sounds; a model that hears them hits far more than a quarter."""
    optimiser = OptimiserConfig(steps=40, warmup_steps=3, learning_rate=1e-2, ema_decay=0.9, weight_decay=0.0)
    training = W2vBertTraining(optimiser=optimiser, batch=4, crop_s=1.0, validation_crops=8)
    speech = [speech_like(1.6, seed) for seed in range(6)]
    labels = [pitch_labels(1.6, seed) for seed in range(6)]
    labels[0][:5] = -1
    model = replace(TINY, classes=4, predict_visible=True, warp=0.05)
    task = W2vBertTask(speech, speech[:2], model, training, labels=labels, dev_labels=labels[:2])
    for step in range(40):
        report = task.training_step(step)
    assert all(np.isfinite(value) for value in report.values())
    assert task.validate()["accuracy"] > 0.6


def pitch_labels(seconds: float, seed: int) -> np.ndarray:
    pitches = (int(np.random.default_rng(seed).integers(4)) + np.arange(int(seconds / 0.08))) % 4
    return pitches.repeat(2)


@pytest.mark.parametrize("labels", [None, [np.zeros(3, int)], [np.full(40, 4)]], ids=["none", "too few", "too high"])
def test_labels_that_do_not_fit_are_refused(labels: list[np.ndarray] | None) -> None:
    speech = [speech_like(1.6, 0)]
    fitting = [np.zeros(40, int)]
    with pytest.raises(ValueError, match="development"):
        W2vBertTask(speech, speech, replace(TINY, classes=4), labels=fitting, dev_labels=labels)
    with pytest.raises(ValueError, match="the model has no classes"):
        W2vBertTask(speech, speech, TINY, labels=fitting)


def test_stretching_moves_a_band_to_the_stretched_frequency() -> None:
    config = LogMelConfig()
    log_mel = torch.zeros(2, 50, 80)
    log_mel[:, :, 30] = 1.0
    same = stretch_bands(log_mel, torch.ones(2), config)
    torch.testing.assert_close(same, log_mel, atol=1e-4, rtol=0)
    centres = melscale_fbanks(257, 40.0, 7_600.0, 80, 16_000, norm=None, mel_scale="htk").argmax(0) * 31.25
    moved = stretch_bands(log_mel, torch.tensor([0.9, 1.1]), config)[:, 0].argmax(-1)
    ratio = centres[moved] / centres[30]
    torch.testing.assert_close(ratio, 1 / torch.tensor([0.9, 1.1]), atol=0.03, rtol=0)


def test_stretching_is_for_training_only_and_follows_its_seed() -> None:
    model = W2vBert(replace(TINY, warp=0.3))
    wave = torch.from_numpy(speech_like(1.6, 3))[None]
    lengths, mask = torch.tensor([40]), torch.zeros(1, 40, dtype=torch.bool)
    mask[0, 5:20] = True

    def loss(seed: int) -> float:
        return float(model(wave, lengths, mask, torch.Generator().manual_seed(seed)).masked.detach())

    assert loss(0) == loss(0) != loss(1)
    model.eval()
    assert loss(0) == loss(1)


def test_masks_cover_spans_inside_the_row() -> None:
    lengths = torch.tensor([40, 3])
    mask = draw_mask(lengths, 40, TINY, torch.Generator().manual_seed(0))
    assert mask.shape == (2, 40) and not mask[1, 3:].any() and mask.any(dim=1).all()
    again = draw_mask(lengths, 40, TINY, torch.Generator().manual_seed(0))
    assert torch.equal(mask, again)
    many = draw_mask(torch.full((200,), 400), 400, W2vBertConfig(), torch.Generator().manual_seed(1))
    assert many.float().mean().item() == pytest.approx(1 - (1 - 0.065) ** 10, abs=0.02)


@pytest.mark.parametrize("samples", [1, 639, 640, 641, 6_400])
def test_one_token_per_640_samples(fitted: tuple[W2vBertTokenizer, Path], samples: int) -> None:
    tokens = fitted[0].encode(torch.from_numpy(speech_like(1.6, 5)[:samples])[None])
    assert tokens.shape == (1, -(-samples // FRAME_SAMPLES)) and tokens.dtype == torch.int64
    assert 0 <= int(tokens.min()) and int(tokens.max()) < 6


def test_silence_has_tokens_too(fitted: tuple[W2vBertTokenizer, Path]) -> None:
    assert fitted[0].encode(torch.zeros(2, 1_280)).shape == (2, 2)


def test_no_samples_are_refused(fitted: tuple[W2vBertTokenizer, Path]) -> None:
    for shape in ((1, 0), (640,)):
        with pytest.raises(ValueError, match="give \\[batch, time\\]"):
            fitted[0].encode(torch.zeros(shape))


def test_a_saved_tokenizer_gives_the_same_tokens(fitted: tuple[W2vBertTokenizer, Path]) -> None:
    tokenizer, folder = fitted
    loaded = load_tokenizer(folder / "tok")
    wave = torch.from_numpy(speech_like(1.6, 6))[None]
    assert (loaded.encode(wave) == W2vBertTokenizer.load(folder / "tok").encode(wave)).all()
    assert (loaded.encode(wave) == tokenizer.encode(wave)).float().mean() > 0.9
    with pytest.raises(CheckpointError, match="holds part 'w2v_bert', not 'semantic'"):
        W2vBertTokenizer.load(folder / "w2v")


@torch.inference_mode()
def test_padding_and_neighbours_do_not_change_features() -> None:
    model = W2vBert(TINY).eval()
    short, long = speech_like(0.8, 1), speech_like(1.6, 2)
    batch = torch.zeros(2, len(long))
    batch[0, : len(short)], batch[1] = torch.from_numpy(short), torch.from_numpy(long)
    frames = torch.tensor([len(short) // FRAME_SAMPLES, len(long) // FRAME_SAMPLES])
    together = model.features(batch, frames, 2)
    alone = model.features(batch[:1, : len(short)], frames[:1], 2)
    torch.testing.assert_close(together[:1, : frames[0]], alone, atol=2e-5, rtol=1e-4)


def test_a_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="layer 3 does not exist"):
        W2vBert(TINY).features(torch.zeros(1, 640), torch.tensor([1]), 3)


def test_kmeans_finds_separated_groups_whatever_their_scale() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    centres = np.array([[0.0, 0.0], [1.0, 5_000.0], [2.0, 0.0]])
    points = (centres[truth] + rng.standard_normal((600, 2)) * [0.05, 50.0]).astype(np.float32)
    clusters = fit_centroids(points, n_clusters=3, seed=0)
    found = assign(torch.from_numpy(points), clusters).numpy()
    assert len({(a, b) for a, b in zip(truth.tolist(), found.tolist(), strict=True)}) == 3
    again = fit_centroids(points, n_clusters=3, seed=0)
    assert torch.equal(clusters.centroids, again.centroids)
    assert not clusters.centroids.isnan().any()


def test_the_tightest_of_several_clusterings_is_kept() -> None:
    rng = np.random.default_rng(0)
    points = (rng.standard_normal((40, 2))[rng.integers(0, 40, 4_000)] * 5 + rng.standard_normal((4_000, 2))).astype(
        "f4"
    )

    def spread(seed: int, restarts: int) -> float:
        clusters = fit_centroids(points, n_clusters=40, seed=seed, restarts=restarts)
        normal = (torch.from_numpy(points) - clusters.mean) / clusters.deviation
        return float(torch.cdist(normal, clusters.centroids).amin(-1).square().mean())

    single = [spread(seed, 1) for seed in range(4)]
    assert len(set(single)) == 4
    assert spread(0, 4) == pytest.approx(min(single))


def test_assignment_is_the_nearest_centroid() -> None:
    clusters = Clusters(torch.randn(4), torch.rand(4) + 0.5, torch.randn(7, 4))
    points = torch.randn(50, 4)
    normal = (points - clusters.mean) / clusters.deviation
    assert torch.equal(assign(points, clusters), torch.cdist(normal, clusters.centroids).argmin(-1))


def test_too_few_frames_for_the_clusters_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot give 5 clusters"):
        fit_centroids(np.zeros((4, 2), dtype=np.float32), n_clusters=5, seed=0)


def test_too_short_speech_is_refused() -> None:
    with pytest.raises(ValueError, match="no training utterance lasts 640 samples"):
        W2vBertTask([np.zeros(639, dtype=np.float32)], [speech_like(0.8, 1)], TINY)


CONVOLUTIONS = [(8, 10, 5), (8, 3, 2), (8, 3, 2), (8, 3, 2), (8, 3, 2), (8, 2, 2), (8, 2, 2)]
COMMON = ("group_norm", CONVOLUTIONS, False, 16, 0.0, 8, 2, 2, 2)
"""Of torchaudio's own network classes: extractor, width 16, two layers of two heads."""


def hubert() -> torch.nn.Module:
    return torchaudio.models.wav2vec2_model(*COMMON, 0.0, 24, 0.0, 0.0, False, 0.0, None)


def wavlm() -> torch.nn.Module:
    return torchaudio.models.wavlm_model(*COMMON, 320, 800, 0.0, 24, 0.0, 0.0, False, 0.0, None)


@pytest.mark.parametrize(("name", "network_class"), [("HUBERT_BASE", hubert), ("WAVLM_BASE_PLUS", wavlm)])
def test_bundles_are_tokenised_at_25_hz(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, network_class: Callable[[], torch.nn.Module]
) -> None:
    """The real torchaudio network classes with random weights, in place of the download."""

    class Bundle:
        @staticmethod
        def get_model() -> torch.nn.Module:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                return network_class()

    monkeypatch.setattr(torchaudio.pipelines, name, Bundle)
    config = bundles.BundleTokenizerConfig(bundle=name, layer=2, n_tokens=4)
    network = bundles.load_bundle(name)
    tokenizer = bundles.BundleTokenizer.fit(config, network, [speech_like(1.6, 1)], seed=0)
    tokenizer.save(tmp_path, {})
    loaded = load_tokenizer(tmp_path)
    for samples in (1, 640, 641, 9_000):
        wave = torch.from_numpy(speech_like(1.6, 2)[:samples])[None]
        tokens = loaded.encode(wave)
        assert tokens.shape == (1, -(-samples // FRAME_SAMPLES))
        assert torch.equal(tokens, tokenizer.encode(wave)) and int(tokens.max()) < 4
    whole = torch.from_numpy(speech_like(1.6, 1))[None]
    with torch.inference_mode():
        layers, _ = network.extract_features(torch.nn.functional.pad(whole, (40, 40)))  # type: ignore[operator]
    pairs = layers[1].unflatten(1, (-1, 2)).mean(dim=2)
    torch.testing.assert_close(bundles.features(network, whole, 2), pairs)
    assert len(torch.unique(tokenizer.encode(whole))) > 1


def test_a_bundle_without_its_weights_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    class Offline:
        @staticmethod
        def get_model() -> torch.nn.Module:
            raise OSError("no route to host")

    monkeypatch.setattr(torchaudio.pipelines, "WAVLM_BASE", Offline)
    with pytest.raises(ValueError, match="WAVLM_BASE: its weights cannot be fetched .no route to host.; go online"):
        bundles.load_bundle("WAVLM_BASE")


def test_repeats_are_dropped_and_their_durations_kept(fitted: tuple[W2vBertTokenizer, Path]) -> None:
    tokens = fitted[0].encode(torch.from_numpy(speech_like(3.2, 7))[None])[0].numpy()
    runs = deduplicate(tokens)
    assert len(runs.tokens) < len(tokens) == 80 and runs.durations.sum() == 80
    assert (np.diff(runs.tokens) != 0).all()
    np.testing.assert_array_equal(runs.expand(), tokens)


def test_an_unknown_bundle_is_refused() -> None:
    with pytest.raises(ValueError, match="use one of HUBERT_BASE"):
        bundles.BundleTokenizerConfig(bundle="HUBERT_BASIC")
