"""The check for speech: talk passes, notes, noise and machines do not; and a recording's verdict follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import evaluation
from audiolm.audio import AudioClip
from detectors.preparation import active_frames, resample
from detectors.speech_likeness import (
    FEATURES,
    SHIPPED,
    SpeechCheck,
    SpeechLikeness,
    file_score,
    shipped_likeness,
    window_features,
)

RATE_HZ = 16_000
PROMPTS = sorted((Path(evaluation.__file__).parent / "prompts").rglob("*.flac"))


def chords(seconds: float, seed: int = 0) -> np.ndarray:
    """Plucked chords of eight harmonics, two a second."""
    rng = np.random.default_rng(seed)
    made = np.zeros(int(seconds * RATE_HZ))
    for start in np.arange(0.0, seconds - 1.0, 0.5):
        time_s = np.arange(int(1.0 * RATE_HZ)) / RATE_HZ
        for hz in 220.0 * 2.0 ** (rng.choice([0, 3, 5, 7, 12], 3, replace=False) / 12):
            tone = sum(np.sin(2 * np.pi * hz * k * time_s) / k**1.5 for k in range(1, 9))
            first = int(start * RATE_HZ)
            made[first : first + time_s.size] += tone * np.exp(-4 * time_s)
    return (0.5 * made / np.abs(made).max()).astype(np.float32)


def bursts(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    gate = np.repeat(rng.random(int(seconds * 10)) < 0.3, RATE_HZ // 10)
    return (0.3 * rng.standard_normal(gate.size) * gate).astype(np.float32)


def talk(seconds: float) -> np.ndarray:
    clips = [AudioClip.from_file(path).at_rate(RATE_HZ).samples for path in PROMPTS[:6]]
    return np.concatenate(clips)[: int(seconds * RATE_HZ)]


def problem(samples: np.ndarray) -> str:
    check = SpeechCheck()
    check.add(samples, active_frames(samples))
    return check.problem


def test_talk_passes_and_music_and_bursts_of_noise_do_not():
    assert problem(talk(9.0)) == ""
    assert "out of domain" in problem(chords(9.0)) and "out of domain" in problem(bursts(9.0))


def test_level_and_telephone_band_are_no_part_of_it():
    samples = talk(9.0)
    plain = shipped_likeness().log_odds(samples)[0]
    np.testing.assert_allclose(shipped_likeness().log_odds(samples * 0.05)[0], plain, atol=0.2)
    narrow = resample(resample(samples, RATE_HZ, 8_000), 8_000, RATE_HZ)[: samples.size]
    assert file_score(shipped_likeness().log_odds(narrow)[0]) > 0.0


def test_windows_of_music_between_talk_are_left_out_and_talk_is_kept():
    samples = np.concatenate([talk(9.0), chords(9.0)])
    check = SpeechCheck()
    check.add(samples, active_frames(samples))
    windows = [(second * RATE_HZ, (second + 2) * RATE_HZ) for second in range(16)]
    kept = {first // RATE_HZ for first, _ in check.kept(windows)}
    assert set(range(7)) <= kept and len(kept & set(range(11, 15))) <= 1


def test_shapes_and_what_gives_no_window():
    features, starts = window_features(talk(7.0))
    assert features.shape == (3, FEATURES) and np.isfinite(features).all()
    assert starts[0] == 0.0 and np.all(np.diff(starts) > 1.4)
    for samples in (np.zeros(48_000, np.float32), np.ones(100, np.float32), np.zeros(0, np.float32)):
        assert window_features(samples)[0].shape == (0, FEATURES)
    assert problem(np.zeros(48_000, np.float32)) == "" and np.isnan(file_score(np.zeros(0)))


def test_altered_weights_are_refused(tmp_path):
    for path in SHIPPED.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = bytearray((tmp_path / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(weights)
    with pytest.raises(ValueError, match="SHA-256"):
        SpeechLikeness(tmp_path)
