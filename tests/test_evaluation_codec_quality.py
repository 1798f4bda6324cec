"""Codec quality: exact copies, scaled copies, known noise, second libraries, clips for which a measure is undefined."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audiolm.audio import AudioClip
from evaluation.acoustics.distortion import log_mel_distance_db, si_sdr_db
from evaluation.acoustics.log_mel import log_mel, mel_filters
from evaluation.metrics import ScoreInput, Skipped
from evaluation.metrics.codec_quality import METRIC, pesq_wideband, stoi

RATE = 16_000


@pytest.fixture(scope="module")
def speech(corpus: Path) -> np.ndarray:
    return AudioClip.from_file(corpus / "speech/librispeech/19/19-198-0001.flac", duration_s=3.0).samples


def noisy(samples: np.ndarray, snr_db: float, seed: int = 1) -> np.ndarray:
    """White noise of exactly that ratio, orthogonal to the samples."""
    noise = np.random.default_rng(seed).standard_normal(len(samples))
    clean = samples.astype(np.float64) - samples.mean()
    noise -= noise.mean()
    noise -= (noise @ clean) / (clean @ clean) * clean
    noise *= np.sqrt((clean @ clean) / (noise @ noise) / 10 ** (snr_db / 10))
    return (samples + noise).astype(np.float32)


def test_si_sdr_is_the_ratio_that_was_mixed_in_at_any_gain() -> None:
    clean = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    for wanted in (-10.0, 0.0, 25.0):
        copy = noisy(clean, wanted)
        for gain in (1.0, -0.3, 2.0):
            assert si_sdr_db(clean, gain * copy + 0.01) == pytest.approx(wanted, abs=1e-3)
    assert si_sdr_db(clean, clean) == 100.0 and si_sdr_db(clean, 0.5 * clean) == 100.0
    assert si_sdr_db(clean, np.full(RATE, 0.1, np.float32)) is None


def test_log_mel_distance_of_a_scaled_copy_is_its_gain() -> None:
    clean = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
    assert log_mel_distance_db(clean, clean, RATE) == 0.0
    assert log_mel_distance_db(clean, 0.5 * clean, RATE) == pytest.approx(20 * math.log10(2), abs=0.01)
    distances = [log_mel_distance_db(clean, noisy(clean, snr), RATE) for snr in (40, 20, 0)]
    assert distances == sorted(distances) and distances[0] < 0.3


def test_mel_filters_equal_torchaudios() -> None:
    from torchaudio.functional import melscale_fbanks

    theirs = melscale_fbanks(257, 0.0, 8000.0, 32, RATE, norm=None, mel_scale="htk").numpy()
    assert np.abs(mel_filters(32, 512, RATE) - theirs).max() < 1e-4
    assert (mel_filters(80, 512, RATE).sum(axis=0) > 0).all()  # bands narrower than a bin are not lost


def test_log_mel_levels_are_dbfs() -> None:
    time = np.arange(RATE) / RATE
    for frequency, level in ((1000.0, 1.0), (3000.0, 0.1)):
        levels = log_mel(level * np.sin(2 * np.pi * frequency * time), RATE, bands=40)
        assert levels.shape == (97, 40)
        # Neighbouring triangles share a tone; together they hold its power.
        powers = (10 ** (levels / 10)).sum(axis=1)
        assert 10 * np.log10(powers.mean()) == pytest.approx(20 * math.log10(level) - 3.01, abs=0.1)
    assert log_mel(np.zeros(10), RATE, bands=40).shape == (1, 40)


def test_stoi_and_pesq_of_a_copy_and_under_noise(speech: np.ndarray) -> None:
    pytest.importorskip("pesq")
    exact, copies = speech.astype(np.float32), [noisy(speech, snr) for snr in (20, 0)]
    assert stoi(exact, exact) == pytest.approx(1.0, abs=1e-6)
    assert pesq_wideband(exact, exact) == pytest.approx(4.644, abs=1e-3)  # the top of P.862.2's mapping
    values = [(stoi(exact, copy), pesq_wideband(exact, copy)) for copy in copies]
    assert 1.0 > values[0][0] > values[1][0] > 0.3 and 4.6 > values[0][1] > values[1][1] > 1.0  # type: ignore[operator]
    assert stoi(exact, (0.5 * exact)) == pytest.approx(1.0, abs=1e-6)


def judged(recording: np.ndarray, clip: np.ndarray) -> Any:
    item = ScoreInput(
        item_id="a",
        role="codec",
        clip=AudioClip.from_array(clip, RATE),
        recording=AudioClip.from_array(recording, RATE),
    )
    return METRIC.load("cpu")([item])[0]


def test_the_scorer_gives_every_measure_of_a_copy(speech: np.ndarray) -> None:
    found = judged(speech, 0.5 * speech)
    assert isinstance(found, dict) and set(found) == {measure.name for measure in METRIC.spec.measures}
    assert found["speaker_cosine"] == pytest.approx(1.0, abs=1e-5)
    assert found["si_sdr_db"] == 100.0 and found["log_mel_distance_db"] == pytest.approx(6.02, abs=0.4)
    # 40 ms more than the recording are cut, half a second is another clip.
    assert judged(speech, np.concatenate([speech, np.zeros(640, np.float32)]))["stoi"] == pytest.approx(1.0, abs=1e-6)
    other = judged(speech, speech[: len(speech) - 8000])
    assert isinstance(other, Skipped) and "differ by 0.50 s" in other.reason


def test_an_undefined_measure_is_skipped_alone_with_its_reason(speech: np.ndarray) -> None:
    click = np.zeros(RATE, np.float32)
    click[8000:8400] = 0.3 * np.sin(np.arange(400) * 0.3)
    found = judged(click, click)
    assert isinstance(found, dict) and isinstance(found["stoi"], Skipped) and found["si_sdr_db"] == 100.0
    assert isinstance(found["speaker_cosine"], Skipped)
    silent = judged(speech, np.zeros(len(speech), np.float32))
    assert isinstance(silent, Skipped) and "silent" in silent.reason


def test_without_pesq_the_rest_is_measured(speech: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    import evaluation.metrics.codec_quality as module

    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert METRIC.status()[0] == "degraded"
    found = judged(speech, speech)
    assert isinstance(found["pesq_wb"], Skipped) and "audiolm-audit[quality]" in found["pesq_wb"].reason
    assert found["stoi"] == pytest.approx(1.0, abs=1e-6)
