"""The log-mel detector: features, windows, abstention, determinism, memory, saved form, shipped weights."""

from __future__ import annotations

import json
import os
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf
import torch
import torchaudio

import detectors
from detectors.artefacts import write_artefact
from detectors.calibration import Calibration
from detectors.channels import low_pass
from detectors.features import log_mel, mel_matrix
from detectors.mel_cnn import DETECTOR, REFERENCE_SCORES, SHIPPED, MelCnnDetector, speech_windows
from detectors.networks.mel_cnn import MelCnn, MelCnnConfig
from detectors.preparation import active_frames, resample

RATE_HZ = 16_000
CORPUS = Path(os.environ.get("AUDIOLM_CORPUS", Path(__file__).parents[1].parent / "shared" / "corpus"))
CONFIG = {
    "version": "test",
    "threshold_llr": -0.5,
    "network": MelCnnConfig(widths=(4, 4, 6, 6, 8, 8)).to_dict(),
    "calibration": Calibration(scale=1.0, offset=0.0, independent_bona=99, independent_synth=99).to_dict(),
}


def speech_like(seconds: float, rate_hz: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    """Noise in syllables of changing length over a quiet background: passes for speech by level."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate_hz)
    time_s = np.arange(count) / rate_hz
    envelope = np.clip(np.sin(2 * np.pi * 3.1 * time_s) + 0.4 * np.sin(2 * np.pi * 1.3 * time_s), 0.0, None)
    return ((0.001 + 0.1 * envelope) * rng.standard_normal(count)).astype(np.float32)


pytestmark = pytest.mark.usefixtures("everything_is_speech")


def saved(folder: Path) -> Path:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = MelCnn(MelCnnConfig.from_dict(CONFIG["network"]))
    write_artefact(folder, network.state_dict(), CONFIG, {REFERENCE_SCORES: {"scores": [{"llr": 1.0}]}})
    return folder


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> MelCnnDetector:
    return DETECTOR.load(str(saved(tmp_path_factory.mktemp("detector"))))


def test_discovery_finds_the_detector_and_only_these_modules_are_helpers():
    found = detectors.discover()
    assert found["mel_cnn"].name == "mel_cnn"
    modules = {path.stem for path in Path(detectors.__file__).parent.glob("*.py")} - {"__init__"}
    helpers = "artefacts assessment augmentation calibration channels error_rates features labelled localisation"
    assert modules - set(found) == {
        *helpers.split(),
        "feature_training",
        "fine_features",
        "kinds",
        "least_squares",
        "linear_features",
        "linear_head",
        "model_card",
        "network_detector",
        "post_processing",
        "preparation",
        "shortcuts",
        "speech_likeness",
        "statistics_features",
        "tandem",
        "training",
        "windowed",
    }


def test_mel_matrix_equals_torchaudios():
    theirs = torchaudio.functional.melscale_fbanks(257, 60.0, 7200.0, 64, RATE_HZ, mel_scale="htk").T.numpy()
    np.testing.assert_allclose(mel_matrix(), theirs, atol=2e-4)


def test_features_ignore_level_and_fixed_equalisation():
    windows = torch.from_numpy(speech_like(1.5))[None]
    features = log_mel(windows)
    assert features.shape == (1, 64, 1 + (24_000 - 512) // 160)
    torch.testing.assert_close(log_mel(windows * 0.01), features, atol=1e-4, rtol=0)
    assert float(features.mean(dim=2).abs().max()) < 1e-4
    with pytest.raises(ValueError, match="at least 512 samples"):
        log_mel(torch.zeros(1, 511))


@pytest.mark.parametrize("seconds", [1.0, 1.99, 2.0, 2.01, 7.3])
def test_windows_cover_the_speech_and_leave_out_silence_around_it(seconds):
    samples = np.concatenate([np.zeros(RATE_HZ), speech_like(seconds), np.zeros(RATE_HZ)]).astype(np.float32)
    windows = speech_windows(samples, active_frames(samples))
    assert abs(windows[0][0] - RATE_HZ) < 0.3 * RATE_HZ
    assert abs(windows[-1][1] - (1 + seconds) * RATE_HZ) < 0.5 * RATE_HZ
    assert all(past - first <= 2 * RATE_HZ and past <= samples.size for first, past in windows)
    assert all(later[0] <= earlier[1] for earlier, later in zip(windows, windows[1:], strict=False))


def test_a_long_pause_is_not_judged():
    quiet = (1e-4 * np.random.default_rng(0).standard_normal(8 * RATE_HZ)).astype(np.float32)
    samples = np.concatenate([speech_like(4), quiet, speech_like(4)])
    windows = speech_windows(samples, active_frames(samples))
    assert not any(first > 5 * RATE_HZ and past < 11 * RATE_HZ for first, past in windows)
    assert windows[-1][1] > 14 * RATE_HZ


CLEAN = speech_like(4.0)
TONE = (0.3 * np.sin(2 * np.pi * 440.0 * np.arange(4 * RATE_HZ) / RATE_HZ)).astype(np.float32)


@pytest.mark.parametrize(
    ("samples", "rate_hz", "reason"),
    [
        (CLEAN[:0], RATE_HZ, "holds no samples"),
        (np.zeros(RATE_HZ * 3, np.float32), RATE_HZ, "all samples are zero"),
        (CLEAN[: RATE_HZ // 20], RATE_HZ, "under 2 s of speech|no speech"),
        (speech_like(1.8), RATE_HZ, "under 2 s of speech"),
        (np.pad(speech_like(1.5), RATE_HZ * 5), RATE_HZ, "under 2 s of speech"),
        (TONE, RATE_HZ, "no speech"),
        (np.random.default_rng(0).normal(0, 0.1, 4 * RATE_HZ).astype(np.float32), RATE_HZ, "no speech"),
        (CLEAN * 1e-5, RATE_HZ, "no speech"),
        (np.clip(CLEAN, -0.06, 0.06), RATE_HZ, "heavily clipped: [0-9]+%"),
        (np.where(np.arange(CLEAN.size) == 9, np.nan, CLEAN).astype(np.float32), RATE_HZ, "NaN or infinite"),
        (np.where(np.arange(CLEAN.size) == 9, np.inf, CLEAN).astype(np.float32), RATE_HZ, "NaN or infinite"),
        (speech_like(4.0, 6_000), 6_000, "narrow band: nothing above 3000 Hz"),
        (low_pass(CLEAN, 3_000.0), RATE_HZ, "narrow band: nothing above 3[01][0-9]{2} Hz"),
    ],
)
def test_abstains_with_a_reason(detector, samples, rate_hz, reason):
    verdict = detector.judge(samples, rate_hz)
    assert verdict.llr is None
    assert verdict.timeline == ()
    assert re.search(reason, verdict.reason)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 44_100, 48_000, 96_000])
def test_any_rate_is_judged(detector, rate_hz):
    verdict = detector.judge(speech_like(3.0, rate_hz), rate_hz)
    assert verdict.reason == ""
    assert np.isfinite(verdict.llr)


def test_same_samples_same_verdict_and_the_timeline_is_its_mean_before_calibration(detector):
    samples = speech_like(9.0)
    first, again = detector.judge(samples, RATE_HZ), detector.judge(samples.copy(), RATE_HZ)
    assert first == again
    raw, windows, _ = detector.score_blocks([samples], RATE_HZ)
    assert raw == np.mean([score for _, _, score in windows])
    assert first.llr == detector.calibration(raw)
    assert len(first.timeline) == len(windows) >= 6


@pytest.mark.parametrize(("rate_hz", "block"), [(RATE_HZ, 7_001), (44_100, 100_003)])
def test_blocks_and_the_whole_give_the_same(detector, rate_hz, block):
    samples = speech_like(64.5, rate_hz)
    blocks = (samples[start : start + block] for start in range(0, samples.size, block))
    assert detector.judge_blocks(blocks, rate_hz) == detector.judge(samples, rate_hz)


def test_resampling_in_segments_shows_no_seam():
    from detectors.preparation import segments_at_16_khz

    samples = speech_like(64.5, 22_050)
    joined = np.concatenate([segment.samples for segment in segments_at_16_khz([samples], 22_050)])
    np.testing.assert_allclose(joined, resample(samples, 22_050), atol=1e-5)


def test_a_long_recording_is_judged_in_bounded_memory(detector):
    block = speech_like(30.0)

    def peak_bytes(repeats: int) -> int:
        tracemalloc.start()
        verdict = detector.judge_blocks((block.copy() for _ in range(repeats)), RATE_HZ)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(verdict.timeline) >= 25 * repeats
        return peak

    assert peak_bytes(8) < 1.2 * peak_bytes(2) + 1e5


def test_the_door_refuses_what_is_no_mono_clip(detector):
    with pytest.raises(ValueError, match="one channel of floats"):
        detector.judge(np.zeros((100, 2), np.float32), RATE_HZ)
    with pytest.raises(ValueError, match="one channel of floats"):
        detector.judge(np.zeros(100, np.int16), RATE_HZ)
    with pytest.raises(ValueError, match="sample rate is 0 Hz"):
        detector.judge(CLEAN, 0)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", REFERENCE_SCORES])
def test_a_changed_byte_is_refused_by_name(tmp_path, name):
    folder = saved(tmp_path)
    content = (folder / name).read_bytes()
    changed = content.replace(b"0.5", b"0.6") if name == "config.json" else content[:-3] + b"0" + content[-2:]
    assert changed != content
    (folder / name).write_bytes(changed)
    with pytest.raises(ValueError, match=name):
        DETECTOR.load(str(folder)).reference_scores()


def test_missing_truncated_or_foreign_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="config.json: cannot be read"):
        DETECTOR.load(str(tmp_path))
    (tmp_path / "config.json").write_text('{"a":')
    with pytest.raises(ValueError, match="is not JSON"):
        DETECTOR.load(str(tmp_path))
    (tmp_path / "config.json").write_text('{"format_version": 99}')
    with pytest.raises(ValueError, match="no detector config of format"):
        DETECTOR.load(str(tmp_path))
    (saved(tmp_path / "ours") / "model.safetensors").unlink()
    with pytest.raises(ValueError, match="model.safetensors: cannot be read"):
        DETECTOR.load(str(tmp_path / "ours"))


shipped = pytest.mark.skipif(not (SHIPPED / "config.json").exists(), reason="no shipped weights yet")


@shipped
def test_shipped_reference_scores_and_description():
    default = DETECTOR.load()
    rows = default.reference_scores()
    assert {"raw", "mp3", "telephone"} <= {row["condition"] for row in rows}
    assert {"dev", "test"} == {row["split"] for row in rows}
    judged = [row["llr"] for row in rows if row["split"] == "test" and row["llr"] is not None]
    assert len(judged) > 200
    missed = np.mean(np.asarray(judged) < default.threshold_llr)
    assert missed < 0.15
    about = default.describe()
    assert json.loads(json.dumps(about))["weights_sha256"] == about["weights_sha256"]
    assert about["polarity"] == "higher = more likely bona fide"


def _lasts(path: Path) -> bool:
    return sf.info(path).duration > 4.0


@shipped
@pytest.mark.skipif(not (CORPUS / "manifest.csv").exists(), reason=f"no corpus at {CORPUS} (set AUDIOLM_CORPUS)")
def test_shipped_detector_ranks_a_recording_above_its_griffin_lim_copy():
    default = detectors.load_default()
    recordings = [path for path in sorted((CORPUS / "speech" / "librispeech").glob("*/*.flac")) if _lasts(path)][::70][
        :5
    ]
    rebuild = torchaudio.transforms.GriffinLim(1024, n_iter=12, hop_length=256, rand_init=False)
    spectrogram = torchaudio.transforms.Spectrogram(1024, hop_length=256)
    differences = []
    for path in recordings:
        samples, rate_hz = sf.read(path, frames=5 * RATE_HZ, dtype="float32")
        with torch.inference_mode():
            copy = rebuild(spectrogram(torch.from_numpy(samples))).numpy()
        verdicts = [default.judge(heard, rate_hz).llr for heard in (samples, copy)]
        assert None not in verdicts
        differences.append(np.subtract(*np.asarray(verdicts, dtype=float)))
    assert len(differences) == 5
    assert np.mean(differences) > 0.5
    assert sum(difference > 0 for difference in differences) >= 4
