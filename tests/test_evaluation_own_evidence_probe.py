"""The probe on speech features: block outputs, vectors, a torchaudio bundle by a stand-in, refusal, shipped scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio

from audiolm.interchange import find_folder
from audiolm.semantic import bundles
from audiolm.semantic.tokenizer import W2vBertTokenizer
from detectors.artefacts import read_config, read_weights, write_artefact
from detectors.calibration import Calibration
from detectors.linear_head import LinearHead
from evaluation.own_evidence.detectors import PRETRAINED, SSL_PROBE, TOKEN_EVIDENCE
from evaluation.own_evidence.speech_features import bundle_blocks, network_digest, own_blocks, window_vector

RATE_HZ = 16_000


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    envelope = np.clip(np.sin(2 * np.pi * 3.1 * time_s) + 0.4 * np.sin(2 * np.pi * 1.3 * time_s), 0.0, None)
    return ((0.001 + 0.1 * envelope) * np.random.default_rng(seed).standard_normal(time_s.size)).astype(np.float32)


def test_blocks_are_those_of_the_tokenizer_and_vectors_their_mean_and_deviation():
    network = W2vBertTokenizer.load(find_folder("nano")[0] / "semantic").model
    samples = noise(2.0)
    blocks = own_blocks(network)(samples)
    config = network.config
    assert len(blocks) == 1 + config.contrastive.layers + config.masked.layers
    with torch.inference_mode():
        for layer in range(1, config.masked.layers + 1):
            theirs = network.features(torch.from_numpy(samples)[None], torch.tensor([50]), layer)[0]
            torch.testing.assert_close(blocks[config.contrastive.layers + layer], theirs)
    vector, values = window_vector(blocks, [0, 2]), blocks[2].double().numpy()
    dim = values.shape[1]
    np.testing.assert_allclose(vector[2 * dim : 3 * dim], values.mean(0), atol=1e-5)
    np.testing.assert_allclose(vector[3 * dim :], values.std(0), atol=1e-5)


@pytest.fixture
def bundle(monkeypatch) -> torch.nn.Module:
    """A small network with the interface of the bundles, in place of downloaded weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torchaudio.models.wav2vec2_model(
            "group_norm", [(16, 10, 5), *[(16, 3, 2)] * 4, (16, 2, 2), (16, 2, 2)], False, 24, 0.0, 9, 3, 3, 4,
            0.0, 32, 0.0, 0.0, False, 0.0, None,
        ).eval()  # fmt: skip
    monkeypatch.setattr(bundles, "load_bundle", lambda name: network)
    return network


def bundle_folder(folder: Path, digest: str) -> Path:
    size = 2 * 24 * 2
    ones = np.ones(size, np.float32)
    calibration = Calibration(scale=1.0, offset=0.0, independent_bona=9, independent_synth=9).to_dict()
    config = {
        "model": "nano", "bundle": "HUBERT_BASE", "blocks": [1, 3], "numbers": size, "threshold_llr": 0.0,
        "calibration": calibration, "model_parts": {"HUBERT_BASE": digest},
    }  # fmt: skip
    write_artefact(folder, LinearHead(0 * ones, ones, ones / size, 0.0).tensors(), config, {})
    return folder


@pytest.mark.usefixtures("everything_is_speech")
def test_a_bundle_is_probed_from_a_folder_and_other_weights_of_it_are_refused(bundle, tmp_path):
    samples = noise(3.0)
    detector = SSL_PROBE.load(str(bundle_folder(tmp_path / "probe", network_digest(bundle))))
    score = detector.score_window(samples[: 2 * RATE_HZ])
    blocks = bundle_blocks(bundle, 3)(samples[: 2 * RATE_HZ])
    assert len(blocks[1]) == 100
    means = [value for at in (1, 3) for value in (blocks[at].mean(0), blocks[at].std(0, correction=0))]
    assert score == pytest.approx(float(torch.cat(means).double().clamp(-6, 6).mean()), abs=1e-6)
    assert detector.judge(samples, RATE_HZ) == detector.judge(samples, RATE_HZ)
    with torch.no_grad():
        next(bundle.parameters()).add_(1.0)
    with pytest.raises(ValueError, match="ssl_probe was fitted to another model: other weights of HUBERT_BASE"):
        SSL_PROBE.load(str(tmp_path / "probe"))


def test_another_semantic_part_is_refused(tmp_path):
    shipped = PRETRAINED / "ssl_probe"
    config = read_config(shipped)
    write_artefact(tmp_path, read_weights(shipped, config), {**config, "model_parts": {"semantic": "0" * 64}}, {})
    with pytest.raises(ValueError, match="other weights of semantic than nano has now; fit it again"):
        SSL_PROBE.load(str(tmp_path))


@pytest.mark.parametrize("entry", [TOKEN_EVIDENCE, SSL_PROBE], ids=lambda entry: entry.name)
def test_shipped_scores_come_out_again(entry, corpus, tmp_path):
    from detectors.labelled import load_clips, save_clips
    from evaluation.detector_data import _recorded
    from evaluation.manifest import read_utterances

    detector = entry.load()
    rows = [row for row in detector.reference_scores() if row["condition"] == "raw" and row["llr"] is not None][::25]
    wanted = {row["utterance_id"]: row["llr"] for row in rows[:3]}
    utterances = [u for u in read_utterances(corpus / "manifest.csv") if u.utterance_id in wanted]
    save_clips(tmp_path / "clips.safetensors", list(_recorded(utterances, 0)))
    for clip in load_clips(tmp_path / "clips.safetensors"):
        verdict = detector.judge(clip.samples[: 3 * RATE_HZ], RATE_HZ)
        assert verdict.llr == pytest.approx(wanted[clip.utterance_id], abs=2e-3)


@pytest.mark.parametrize("name", ["token_evidence", "ssl_probe"])
def test_shipped_weights_are_small(name):
    assert (PRETRAINED / name / "model.safetensors").stat().st_size < 100_000
