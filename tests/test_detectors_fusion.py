"""Parts of the fusion: mixtures against scikit-learn, weights against a closed form, evidence, saved form, kinds."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
import torch
from sklearn.mixture import GaussianMixture

import detectors
from detectors.artefacts import write_artefact
from detectors.calibration import Calibration
from detectors.fusion import DETECTOR, fit_fusion
from detectors.kinds import KINDS, bona_fide_logit, kind_of
from detectors.lfcc_gmm import CLASSES, PARTS, LfccGmmDetector, fit_mixture, frame_log_likelihood
from detectors.linear_features import LFCC_SIZE, lfcc, log_linear
from detectors.networks.graph_attention import GraphAttentionNetwork
from detectors.networks.lcnn import Lcnn

RATE_HZ = 16_000
CALIBRATION = Calibration(scale=1.0, offset=0.0, independent_bona=99, independent_synth=99).to_dict()
CONFIG = {"version": "test", "threshold_llr": -0.5, "calibration": CALIBRATION}

pytestmark = pytest.mark.usefixtures("everything_is_speech")


def speech_like(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    envelope = np.clip(np.sin(2 * np.pi * 3.1 * time_s) + 0.4 * np.sin(2 * np.pi * 1.3 * time_s), 0.0, None)
    return ((0.001 + 0.1 * envelope) * rng.standard_normal(time_s.size)).astype(np.float32)


def mixture_weights(seed: int) -> dict[str, torch.Tensor]:
    rng, found = np.random.default_rng(seed), {}
    for kind in CLASSES:
        values = (np.log([0.4, 0.6]), rng.standard_normal((2, LFCC_SIZE)), rng.uniform(0.5, 2.0, (2, LFCC_SIZE)))
        names = [f"{kind}.{part}" for part in PARTS]
        found |= {name: torch.from_numpy(np.asarray(v, np.float32)) for name, v in zip(names, values, strict=True)}
    return found


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A fusion of two parts on disk: mixtures and a network with fresh weights."""
    root = tmp_path_factory.mktemp("fusion")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        network = Lcnn()
    write_artefact(root / "lfcc_gmm", mixture_weights(1), CONFIG, {})
    write_artefact(root / "lfcc_lcnn", network.state_dict(), CONFIG, {})
    digests = {
        name: json.loads((root / name / "config.json").read_text())["files"]["model.safetensors"]
        for name in ("lfcc_gmm", "lfcc_lcnn")
    }
    fusion = {
        **CONFIG,
        "parts": digests,
        "weights": {"lfcc_gmm": 0.02, "lfcc_lcnn": 3.0},
        "offset": 0.25,
        "frame_part": "lfcc_lcnn",
    }
    write_artefact(root / "fusion", {}, fusion, {})
    return root


def test_mixture_density_is_scikit_learns():
    frames = np.random.default_rng(0).standard_normal((300, LFCC_SIZE)).astype(np.float32)
    mine = frame_log_likelihood(frames, fit_mixture(frames, 3, seed=4))
    theirs = GaussianMixture(
        3, covariance_type="diag", max_iter=20, reg_covar=1e-4, init_params="random_from_data", random_state=4, tol=1e-3
    ).fit(frames)
    np.testing.assert_allclose(mine, theirs.score_samples(frames), atol=2e-3)


def test_fusion_weights_are_those_of_gaussian_scores():
    # Two independent scores with unit variance and means +-m: the ratio is the sum of 2 m_k s_k.
    rng, means = np.random.default_rng(1), np.asarray([0.8, 0.3])
    bona, synth = (rng.standard_normal((40_000, 2)) + sign * means for sign in (1, -1))
    weights, offset = fit_fusion(bona, synth[:10_000])
    np.testing.assert_allclose(weights, 2 * means, atol=0.06)
    assert abs(offset) < 0.05


def test_a_part_with_its_sign_turned_gets_no_weight():
    rng = np.random.default_rng(2)
    bona, synth = (rng.standard_normal((500, 2)) + sign * np.asarray([1.0, -1.0]) for sign in (1, -1))
    weights, _ = fit_fusion(bona, synth)
    assert weights[0] > 0 and weights[1] == 0
    with pytest.raises(ValueError, match="no part ranks"):
        fit_fusion(synth[:, :1], bona[:, :1])
    with pytest.raises(ValueError, match="finite"):
        fit_fusion(bona * np.nan, synth)


def test_a_fused_score_is_the_weighted_sum_and_names_what_carried_it(saved):
    fusion = DETECTOR.load(str(saved / "fusion"))
    samples = speech_like(3.0)
    verdict = fusion.judge_blocks([samples], RATE_HZ, frames=True)
    assert verdict.llr is not None
    parts = {name: part.score_blocks([samples], RATE_HZ)[0] for name, part in fusion.parts.items()}
    total = 0.02 * parts["lfcc_gmm"] + 3.0 * parts["lfcc_lcnn"] + 0.25
    assert verdict.llr == pytest.approx(float(fusion.calibration(total)), abs=1e-9)
    assert sorted(name for name, _ in verdict.evidence) == ["lfcc_gmm", "lfcc_lcnn"]
    assert dict(verdict.evidence)["lfcc_lcnn"] == pytest.approx(
        float(fusion.parts["lfcc_lcnn"].calibration(parts["lfcc_lcnn"]))
    )
    assert len(verdict.frames) > len(verdict.timeline)
    assert fusion.judge_blocks([samples[:20_000], samples[20_000:]], RATE_HZ, frames=True) == verdict


def test_a_part_is_kept_below_its_ceiling_in_every_window(saved, tmp_path):
    for name in ("lfcc_gmm", "lfcc_lcnn", "fusion"):
        shutil.copytree(saved / name, tmp_path / name)
    samples, config = speech_like(4.0), json.loads((saved / "fusion" / "config.json").read_text())
    windows = [(0, 32_000), (32_000, 64_000)]
    part = DETECTOR.load(str(saved / "fusion")).parts["lfcc_lcnn"].score_windows(samples, windows)
    ceiling = float(np.mean(part))
    kept = {key: value for key, value in config.items() if key not in ("files", "format_version", "config_sha256")}
    write_artefact(tmp_path / "fusion", {}, {**kept, "ceilings": {"lfcc_lcnn": ceiling}}, {})
    free, bound = (DETECTOR.load(str(folder / "fusion")) for folder in (saved, tmp_path))
    expected = [
        score - 3.0 * max(0.0, value - ceiling)
        for score, value in zip(free.score_windows(samples, windows), part, strict=True)
    ]
    assert bound.score_windows(samples, windows) == pytest.approx(expected)
    assert bound.describe()["ceilings"] == {"lfcc_lcnn": ceiling} and free.describe()["ceilings"] == {}


def test_the_digest_of_a_fusion_is_that_of_its_parts_weights(saved):
    whole = DETECTOR.load(str(saved / "fusion"))
    digests = [str(part.describe()["weights_sha256"]) for part in whole.parts.values()]
    empty = json.loads((saved / "fusion" / "config.json").read_text())["files"]["model.safetensors"]
    found = str(whole.describe()["weights_sha256"])
    assert len(found) == 64 and found not in (*digests, empty)
    assert found == hashlib.sha256(",".join(digests).encode()).hexdigest()


def test_a_fusion_refuses_parts_it_was_not_fitted_to(saved, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    write_artefact(copy / "lfcc_gmm", mixture_weights(2), CONFIG, {})
    with pytest.raises(ValueError, match="other weights"):
        DETECTOR.load(str(copy / "fusion"))


def test_mixtures_of_another_shape_are_refused(tmp_path):
    weights = {name: value for name, value in mixture_weights(1).items() if "precisions" not in name}
    write_artefact(tmp_path / "lfcc_gmm", weights, CONFIG, {})
    with pytest.raises(ValueError, match="no two mixtures"):
        detectors.discover()["lfcc_gmm"].load(str(tmp_path / "lfcc_gmm"))


def test_every_kind_counts_on_one_side_of_the_odds():
    logits = torch.log(torch.tensor([[0.3, 0.3, 0.1, 0.1, 0.1, 0.05, 0.03, 0.02]]))
    assert len(KINDS) == logits.shape[1]
    torch.testing.assert_close(bona_fide_logit(logits), torch.log(torch.tensor([0.6 / 0.4])))
    assert kind_of("bona_fide", "gsm") == "recording" and kind_of("bona_fide", "own_codec") == "own_codec"
    assert kind_of("own_continuation", "raw") == "own_model" and kind_of("some_codec", "raw") == "neural_codec"


@pytest.mark.parametrize(("network", "bands", "frames"), [(Lcnn, 80, 98), (GraphAttentionNetwork, 30, 499)])
def test_networks_take_windows_of_one_and_of_two_seconds(network, bands, frames):
    model = network().eval()
    with torch.inference_mode():
        for length in (frames, 2 * frames):
            features = torch.randn(3, bands, length)
            scores = model(features)
            assert scores.shape == (3,)
            torch.testing.assert_close(model(features[1:2]), scores[1:2], atol=1e-4, rtol=1e-4)


def test_a_mixture_detector_prefers_the_class_it_was_fitted_to():
    def frames(sound: np.ndarray) -> np.ndarray:
        return lfcc(log_linear(torch.from_numpy(sound)[None]))[0].numpy().T

    steady = np.random.default_rng(9).standard_normal(3 * RATE_HZ).astype(np.float32) * 0.1
    mixtures = {CLASSES[0]: fit_mixture(frames(speech_like(3.0)), 2, 0), CLASSES[1]: fit_mixture(frames(steady), 2, 0)}
    detector = LfccGmmDetector(mixtures, Calibration.from_dict(CALIBRATION), CONFIG, None)
    assert detector.score_window(speech_like(2.0, seed=7)) > 0 > detector.score_window(steady[:RATE_HZ])
