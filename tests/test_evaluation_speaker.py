"""Speaker encoders: equality with the original, invariances, calibration, and the similarity scorer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from scipy import special

from audiolm.audio import AudioClip
from evaluation.metrics import ScoreInput, Skipped
from evaluation.metrics.speaker_similarity import METRIC
from evaluation.speaker import find_encoder
from evaluation.speaker.calibration import LogRatioLine, cllr_bit, equal_error_rate, fit_log_ratio
from evaluation.speaker.closed_set import train_closed_set
from evaluation.speaker.convert_resemblyzer import convert
from evaluation.speaker.ge2e import CALIBRATION, WEIGHTS, Ge2eEncoder, window_starts
from evaluation.speaker.silence import set_level, trim_silences
from tests.evaluation_fakes import numbers_of

RATE = 16_000
GOLDEN = Path(__file__).parent / "golden" / "ge2e_embedding.json"
HALF_PRECISION = 5e-4
"""Values of a vector of length 1; the weights are stored in half precision, Resemblyzer's are not."""


def voice(f0_hz: float, seconds: float = 3.0, tilt: float = 1.0, seed: int = 0) -> np.ndarray:
    """A gliding harmonic tone with pauses and a little noise; deterministic."""
    time = np.arange(int(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(f0_hz * (1 + 0.1 * np.sin(2 * np.pi * 0.7 * time))) / RATE
    tone = sum(np.sin(k * phase) / k**tilt for k in range(1, int(6000 // (1.1 * f0_hz))))
    noise = np.random.default_rng(seed).standard_normal(len(time))
    return (0.05 * tone * (np.sin(2 * np.pi * 1.3 * time) > -0.6) + 1e-4 * noise).astype(np.float32)


@pytest.fixture(scope="module")
def encoder() -> Ge2eEncoder:
    loaded = find_encoder("ge2e").load("cpu")
    assert isinstance(loaded, Ge2eEncoder)
    return loaded


def test_vectors_equal_those_stored_from_resemblyzer(encoder: Ge2eEncoder) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for case in golden["cases"]:
        vector = encoder.embed_samples(voice(case["f0_hz"], case["seconds"], case["tilt"]))
        np.testing.assert_allclose(vector, np.array(case["embedding"]), atol=HALF_PRECISION)


def test_vectors_equal_resemblyzers_where_it_is_installed(encoder: Ge2eEncoder) -> None:
    pytest.importorskip("webrtcvad")
    resemblyzer = pytest.importorskip("resemblyzer")
    original = resemblyzer.VoiceEncoder("cpu", verbose=False)
    for seconds in (0.7, 1.6, 4.01):
        samples = voice(140.0, seconds)
        np.testing.assert_allclose(
            encoder.embed_samples(samples), original.embed_utterance(samples), atol=HALF_PRECISION
        )


def test_windows_cover_the_clip_as_in_the_original() -> None:
    assert window_starts(8_000) == [0]
    assert window_starts(int(1.6 * RATE)) == [0]
    assert window_starts(4 * RATE) == [0, 77, 154, 231]
    assert window_starts(int(3.5 * RATE)) == [0, 77, 154]  # a fourth, from 2.31 s, would be covered by 74 %


@pytest.mark.parametrize("gain", [0.05, 0.5, 4.0])
def test_a_gain_does_not_move_the_vector(encoder: Ge2eEncoder, gain: float) -> None:
    samples = voice(120.0)
    vectors = [encoder.embed(AudioClip.from_array(scaled, RATE)) for scaled in (samples, gain * samples)]
    assert vectors[0] is not None and vectors[1] is not None
    assert float(vectors[0] @ vectors[1]) > 1 - 1e-5


def test_vectors_have_unit_length_and_silence_has_none(encoder: Ge2eEncoder) -> None:
    vector = encoder.embed(AudioClip.from_array(voice(120.0), RATE))
    assert vector is not None
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)
    for samples in (np.zeros(RATE, np.float32), 1e-5 * voice(120.0), voice(120.0, 0.3)):
        assert encoder.embed(AudioClip.from_array(samples, RATE)) is None


def test_long_pauses_are_cut_and_speech_is_kept() -> None:
    speech = voice(120.0, 1.0)
    silence = np.zeros(2 * RATE, np.float32)
    trimmed = trim_silences(np.concatenate([silence, speech, silence, speech, silence]), RATE)
    assert 1.8 * RATE < len(trimmed) < 2.9 * RATE
    assert not len(trim_silences(silence, RATE))
    assert np.sqrt(np.mean(np.square(set_level(speech)))) == pytest.approx(10 ** (-26 / 20), rel=1e-4)
    np.testing.assert_array_equal(set_level(silence), silence)


def item(clip: np.ndarray, prompt: np.ndarray | None, name: str = "a") -> ScoreInput:
    as_clip = None if prompt is None else AudioClip.from_array(prompt, RATE)
    return ScoreInput(item_id=name, role="continuation", clip=AudioClip.from_array(clip, RATE), prompt=as_clip)


def test_a_clip_is_its_own_speaker_and_order_and_batch_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AUDIOLM_SPEAKER", raising=False)
    score = METRIC.load("cpu")
    low, high = voice(95.0, 3.0, 0.8), voice(260.0, 2.0, 1.6)
    outcomes = score([item(low, low), item(high, low), item(low, high), item(np.zeros(2 * RATE), low), item(low, None)])
    same, across, back = (numbers_of(outcome) for outcome in outcomes[:3])
    silent, alone = outcomes[3:]
    assert same["cosine"] == pytest.approx(1.0, abs=1e-6)
    assert same["accepted"] == 1.0
    assert across["cosine"] == pytest.approx(back["cosine"], abs=1e-9)
    assert across["cosine"] < 0.9
    assert isinstance(silent, Skipped) and "clip holds less" in silent.reason
    assert isinstance(alone, Skipped) and "no prompt" in alone.reason
    assert numbers_of(score([item(high, low)])[0]) == across
    assert same["llr"] > 1.0 > across["llr"]


def test_real_speakers_are_told_apart(corpus: Path) -> None:
    folder = corpus / "speech" / "librispeech"
    files = {19: ("19-198-0001", "19-198-0002"), 26: ("26-495-0001", "26-495-0002"), 27: ("27-123349-0001",)}
    clips = {(who, k): folder / str(who) / f"{n}.flac" for who, names in files.items() for k, n in enumerate(names)}
    clips = {key: path for key, path in clips.items() if path.is_file()}
    if (19, 1) not in clips or (26, 0) not in clips:
        pytest.skip("the corpus lacks the LibriSpeech speakers 19 and 26")
    score = METRIC.load("cpu")
    prompt = AudioClip.from_file(clips[19, 0], duration_s=3.0).samples
    same = numbers_of(score([item(AudioClip.from_file(clips[19, 1], duration_s=4.0).samples, prompt)])[0])
    other = numbers_of(score([item(AudioClip.from_file(clips[26, 0], duration_s=4.0).samples, prompt)])[0])
    assert (same["accepted"], other["accepted"]) == (1.0, 0.0)
    assert same["cosine"] > other["cosine"] + 0.1


def test_vectors_do_not_depend_on_what_shares_their_block(encoder: Ge2eEncoder) -> None:
    clips = [AudioClip.from_array(voice(90.0 + 30 * k, 1.0 + 0.9 * k, seed=k), RATE) for k in range(5)]
    together = encoder.embed_many(clips)
    for places in ([4, 3, 2, 1, 0], [2, 3, 4]):
        vectors = encoder.embed_many([clips[place] for place in places])
        for place, vector in zip(places, vectors, strict=True):
            np.testing.assert_array_equal(vector, together[place])
    np.testing.assert_array_equal(encoder.embed(clips[3]), together[3])


def test_the_log_ratio_line_of_two_gaussians_is_the_closed_form() -> None:
    quantiles = special.ndtri((np.arange(2000) + 0.5) / 2000)
    line = fit_log_ratio(quantiles + 3.0, quantiles)
    assert line.slope * np.log(10) == pytest.approx(3.0, rel=0.02)
    assert line.of(np.array([1.5]))[0] == pytest.approx(0.0, abs=1e-3)
    assert 0.0 < cllr_bit(line, quantiles + 3.0, quantiles) < 0.4
    assert cllr_bit(LogRatioLine(0.0, 0.0), quantiles, quantiles) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least one target"):
        fit_log_ratio(np.zeros(0), quantiles)


def test_a_small_classifier_learns_two_voices_and_leaves_global_chance_alone() -> None:
    state = torch.random.get_rng_state()
    recordings = {name: [voice(f0, 1.5), voice(1.1 * f0, 1.5)] for name, f0 in (("low", 90.0), ("high", 250.0))}
    judge = train_closed_set(recordings, 0, steps=15)
    assert [judge.who(voice(f0, 1.5)) for f0 in (95.0, 260.0)] == ["low", "high"]
    assert torch.equal(state, torch.random.get_rng_state())
    assert judge.who(np.zeros(100, np.float32)) is None
    with pytest.raises(ValueError, match="without a recording: b"):
        train_closed_set({"a": [voice(90.0)], "b": []}, 0)


def test_equal_error_rate_of_known_cases() -> None:
    assert equal_error_rate(np.array([0.8, 0.9]), np.array([0.1, 0.2])).rate == 0.0
    swapped = equal_error_rate(np.array([0.1, 0.2]), np.array([0.8, 0.9]))
    assert swapped.rate == pytest.approx(1.0, abs=0.5)
    with pytest.raises(ValueError, match="at least one"):
        equal_error_rate(np.array([]), np.array([0.1]))


@settings(max_examples=5)
@given(distance=st.sampled_from([0.0, 1.0, 2.0, 3.0]), seed=st.integers(0, 100))
def test_equal_error_rate_of_two_gaussians_is_the_closed_form(distance: float, seed: int) -> None:
    from scipy.stats import norm

    generator = np.random.default_rng(seed)
    point = equal_error_rate(generator.normal(distance, 1, 20_000), generator.normal(0, 1, 20_000))
    assert point.rate == pytest.approx(float(norm.cdf(-distance / 2)), abs=0.01)
    assert point.threshold == pytest.approx(distance / 2, abs=0.05) or distance == 0.0


def test_shipped_weights_and_operating_point_belong_together() -> None:
    calibration = json.loads(CALIBRATION.read_text(encoding="utf-8"))
    assert calibration["weights_sha256"] == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    assert WEIGHTS.stat().st_size < 6_000_000
    assert calibration["impostor_mean_cosine"] < calibration["threshold"] < calibration["target_mean_cosine"]
    assert 0.0 < calibration["equal_error_rate"] < 0.1
    assert find_encoder("ge2e").threshold == calibration["threshold"]
    assert METRIC.fingerprint()["weights_sha256"] == calibration["weights_sha256"]


def test_conversion_gives_the_shipped_file_again(tmp_path: Path) -> None:
    import torch

    shipped = load_file(WEIGHTS)
    checkpoint = tmp_path / "pretrained.pt"
    torch.save({"model_state": {**shipped, "similarity_weight": torch.ones(1)}}, checkpoint)
    assert convert(checkpoint, tmp_path / "again.safetensors") == hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    torch.save({"model_state": {"lstm.x": torch.ones(1)}}, checkpoint)
    with pytest.raises(ValueError, match="14 tensors"):
        convert(checkpoint, tmp_path / "again.safetensors")


def test_damaged_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from evaluation.speaker import ge2e

    broken = tmp_path / "ge2e.safetensors"
    broken.write_bytes(WEIGHTS.read_bytes()[:-4] + b"\0\0\0\1")
    monkeypatch.setattr(ge2e, "WEIGHTS", broken)
    with pytest.raises(ValueError, match="digest"):
        type(ge2e.ENCODER)().load("cpu")


def test_ecapa_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUDIOLM_SPEAKER", "ecapa")
    monkeypatch.delenv("AUDIOLM_ECAPA_DIR", raising=False)
    assert METRIC.status()[0] == "missing"
    monkeypatch.setenv("AUDIOLM_ECAPA_DIR", str(tmp_path))
    state, sentence = METRIC.status()
    assert state == "missing"
    assert "speechbrain" in sentence.lower()
    with pytest.raises(ValueError, match="AUDIOLM_ECAPA_DIR"):
        METRIC.load("cpu")
    monkeypatch.setenv("AUDIOLM_SPEAKER", "nobody")
    with pytest.raises(ValueError, match="nobody"):
        find_encoder()
