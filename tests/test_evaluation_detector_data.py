"""The detector's training data: vocoders, splits, generations of our own model, text-to-speech voices."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz

from audiolm.audio import AudioClip, write_audio
from evaluation.detector_data import generated_clips, split_of
from evaluation.detector_synthesis import VOCODERS, levinson
from evaluation.detector_voices import VOICES, installed_voices, speak
from evaluation.frames import write_generations
from evaluation.records import GenerationRecord, Utterance

RATE_HZ = 16_000


def vowel(f0_hz: float = 125.0, seconds: float = 2.0) -> np.ndarray:
    """Pulses through two resonances, syllable by syllable."""
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    tone = sum(np.exp(-(((k * f0_hz - 600) / 500) ** 2)) * np.cos(2 * np.pi * k * f0_hz * time_s) for k in range(1, 20))
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time_s), 0.0, None)
    noise = np.random.default_rng(0).standard_normal(time_s.size)
    return (0.05 * np.asarray(tone) * syllables + 1e-4 * noise).astype(np.float32)


def band_levels(samples: np.ndarray) -> np.ndarray:
    """dB ``[frame, band]`` in 100 ms by 500 Hz cells up to 2 kHz."""
    power = np.abs(np.fft.rfft(samples[: samples.size // 1600 * 1600].reshape(-1, 1600))) ** 2
    return 10 * np.log10(power[:, :200].reshape(power.shape[0], 4, 50).sum(axis=2) + 1e-3)


@pytest.mark.parametrize("name", sorted(VOCODERS))
def test_vocoders_keep_time_course_and_spectrum_but_not_the_waveform(name):
    samples = vowel()
    made = VOCODERS[name](samples, np.random.default_rng(1))
    assert made.shape == samples.shape and made.dtype == np.float32 and np.abs(made).max() <= 1.0
    np.testing.assert_array_equal(made, VOCODERS[name](samples, np.random.default_rng(1)))
    assert np.corrcoef(band_levels(samples).ravel(), band_levels(made).ravel())[0, 1] > 0.75
    assert abs(np.corrcoef(samples, made)[0, 1]) < 0.9


def test_levinson_solves_the_normal_equations():
    frames = np.random.default_rng(0).standard_normal((7, 64)) * np.hanning(64)
    correlation = np.stack([np.correlate(frame, frame, "full")[63:74] for frame in frames])
    filters, power = levinson(correlation)
    for row, lags in enumerate(correlation):
        taps = solve_toeplitz(lags[:-1], lags[1:])
        np.testing.assert_allclose(filters[row], np.r_[1.0, -taps], atol=1e-9)
        assert power[row] == pytest.approx(lags[0] - taps @ lags[1:])


def test_splits_are_by_speaker_and_leave_audit_only_speech_alone():
    def utterance(split: str, speaker_id: str) -> Utterance:
        return Utterance(utterance_id="u", audio_path=Path("/x"), split=split, speaker_id=speaker_id)

    splits = [split_of(utterance("train", f"speaker-{k}")) for k in range(400)]
    assert 0.10 < np.mean([split == "held" for split in splits]) < 0.24
    assert splits == [split_of(utterance("train", f"speaker-{k}")) for k in range(400)]
    assert split_of(utterance("train", "")) == "train"
    assert [split_of(utterance(split, "s")) for split in ("dev", "test", "fairness")] == ["held", "test", ""]


def test_no_voice_is_in_two_splits_and_8_khz_kal_is_not_used():
    names = [(voice.program, voice.name) for voice in VOICES]
    assert len(set(names)) == len(names)
    assert ("flite", "kal") not in names
    assert {voice.split for voice in VOICES} == {"train", "held", "test"}


def _record(folder: Path, role: str, utterance_id: str, origin: str = "human", status: str = "ok") -> GenerationRecord:
    path = f"audio/{role}-{utterance_id}.wav"
    (folder / "audio").mkdir(exist_ok=True)
    write_audio(folder / path, AudioClip.from_array(vowel(), RATE_HZ))
    return GenerationRecord(
        item_id=f"{role}/{utterance_id}",
        utterance_id=utterance_id,
        speaker_id=f"speaker-of-{utterance_id}",
        system="audiolm",
        role=role,
        seed=1,
        audio_path=path if status == "ok" else "",
        sample_rate_hz=RATE_HZ,
        duration_s=2.0,
        prompt_s=0.0,
        transcript=None,
        groups={},
        origin=origin,
        wall_s=0.1,
        status=status,
        reason="" if status == "ok" else "failed",
        content_sha256="",
        config_sha256="",
    )


def test_generations_take_class_from_the_role_and_split_from_the_speaker(tmp_path: Path):
    records = [
        *[_record(tmp_path, role, "a") for role in ("reference", "codec", "acoustic", "continuation", "shuffled")],
        _record(tmp_path, "codec", "b"),
        _record(tmp_path, "codec", "unknown-utterance"),
        _record(tmp_path, "acoustic", "c", origin="synthetic"),
        _record(tmp_path, "acoustic", "d", status="failed"),
    ]
    write_generations(tmp_path / "generations.parquet", records)
    splits = {"a": "train", "b": "test", "c": "train", "d": "train"}
    found = [
        (clip.utterance_id, clip.generator, clip.condition, clip.split, clip.speaker_id)
        for clip in generated_clips(tmp_path, splits, 0)
    ]
    assert sorted(found) == [
        ("a", "bona_fide", "own_codec", "train", "speaker-of-a"),
        ("a", "own_acoustic", "raw", "train", "speaker-of-a"),
        ("a", "own_continuation", "raw", "train", "speaker-of-a"),
        ("b", "bona_fide", "own_codec", "test", "speaker-of-b"),
    ]


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed (apt install espeak-ng)")
def test_espeak_speaks_the_same_sentence_twice_alike_and_an_unknown_voice_is_an_error():
    voice = next(voice for voice in installed_voices() if voice.program == "espeak")
    first, again = speak(voice, "THE CAT SAT DOWN"), speak(voice, "THE CAT SAT DOWN")
    assert first.duration_s > 0.5
    np.testing.assert_array_equal(first.samples, again.samples)
    with pytest.raises(ValueError, match="espeak could not speak as nobody"):
        speak(type(voice)(program="espeak", name="nobody", split="test"), "HELLO")
