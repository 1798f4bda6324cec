"""Acoustic measurements against signals whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.audio import AudioClip
from evaluation.acoustics.bandwidth import effective_bandwidth_hz
from evaluation.acoustics.f0 import semitones, summarise_pitch, track_pitch
from evaluation.acoustics.level import SILENCE_DBFS, frame_levels_dbfs, integrated_loudness_lufs
from evaluation.acoustics.noise import estimate_noise
from evaluation.acoustics.signal_profile import profile_signal

RATE = 16_000


def times(seconds: float) -> np.ndarray:
    return np.arange(int(seconds * RATE)) / RATE


def voice(f0_hz: np.ndarray | float, seconds: float = 2.0, level: float = 0.05) -> np.ndarray:
    """A harmonic tone, partials falling by 6 dB per octave; ``f0_hz`` may be a track of one value per sample."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(f0_hz, int(seconds * RATE))) / RATE
    partials = range(1, int(7000 // np.max(f0_hz)) + 1)
    return (level * np.sum([np.sin(k * phase + k) / k for k in partials], axis=0)).astype(np.float32)


def phrases(seconds: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """A voice that speaks 0.7 s of every second, and where it does."""
    talking = (times(seconds) % 1.0) < 0.7
    return (voice(120.0, seconds) * talking).astype(np.float32), talking


def white(seconds: float, power: float, seed: int = 1) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(int(seconds * RATE))
    return noise * np.sqrt(power / np.mean(noise**2))


@pytest.mark.parametrize("f0_hz", [65.0, 82.4, 110.0, 123.4, 220.0, 331.0, 440.0, 490.0])
def test_pitch_of_a_harmonic_tone_is_found_within_five_cents(f0_hz: float) -> None:
    summary = summarise_pitch(voice(f0_hz), RATE)
    assert summary is not None
    assert abs(100 * semitones(summary.median_hz, f0_hz)) < 5.0
    assert summary.voiced_share == 1.0
    assert summary.range_semitones < 0.05


@settings(max_examples=12)
@given(shift=st.floats(-8.0, 8.0), base_hz=st.floats(110.0, 280.0))
def test_transposition_by_k_semitones_moves_the_median_by_k(shift: float, base_hz: float) -> None:
    before = summarise_pitch(voice(base_hz, 0.6), RATE)
    after = summarise_pitch(voice(base_hz * 2 ** (shift / 12), 0.6), RATE)
    assert before is not None and after is not None
    assert float(semitones(after.median_hz, before.median_hz)) == pytest.approx(shift, abs=0.1)


def test_pitch_follows_a_glide_and_its_range() -> None:
    glide = 120.0 * 2 ** (times(2.0) / 2.0)  # one octave in two seconds
    summary = summarise_pitch(voice(glide), RATE)
    assert summary is not None
    assert summary.median_hz == pytest.approx(120.0 * 2**0.5, rel=0.02)
    assert summary.range_semitones == pytest.approx(0.8 * 12, abs=0.5)  # 10th to 90th percentile of a straight line


def test_noise_and_silence_have_no_pitch() -> None:
    assert summarise_pitch(white(2.0, 0.01).astype(np.float32), RATE) is None
    assert summarise_pitch(np.zeros(RATE, np.float32), RATE) is None
    assert np.isnan(track_pitch(voice(100.0, 0.02), RATE)).all()


def test_hum_in_the_pauses_is_not_the_voice() -> None:
    speech, talking = phrases()
    hum = 0.004 * np.sin(2 * np.pi * 62.0 * times(4.0)) * ~talking
    summary = summarise_pitch((speech + hum).astype(np.float32), RATE)
    assert summary is not None
    assert abs(float(semitones(summary.median_hz, 120.0))) < 0.1
    assert summary.range_semitones < 0.5


def test_blocks_do_not_change_the_pitch_track(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = voice(150.0, 1.0)
    whole = track_pitch(samples, RATE)
    monkeypatch.setattr("evaluation.acoustics.f0.BLOCK_FRAMES", 7)
    np.testing.assert_allclose(track_pitch(samples, RATE), whole, rtol=1e-9)


def test_loudness_of_the_standards_own_test_tone() -> None:
    seconds = np.arange(3 * 48_000) / 48_000
    tone = np.sin(2 * np.pi * 997.0 * seconds).astype(np.float32)
    # BS.1770-4: a full-scale 997 Hz sine in one channel reads -3.01 LKFS.
    assert integrated_loudness_lufs(tone, 48_000) == pytest.approx(-3.01, abs=0.01)
    slow = np.sin(2 * np.pi * 997.0 * times(3.0)).astype(np.float32)
    assert integrated_loudness_lufs(slow, RATE) == pytest.approx(-3.01, abs=0.06)


@settings(max_examples=12)
@given(gain_db=st.floats(-20.0, 12.0))
def test_a_gain_moves_loudness_and_floor_by_itself_and_leaves_the_ratio(gain_db: float) -> None:
    samples = (phrases(2.0)[0] + white(2.0, 1e-6)).astype(np.float32)
    louder = (samples * 10 ** (gain_db / 20)).astype(np.float32)
    before, after = (profile_signal(AudioClip.from_array(one, RATE)) for one in (samples, louder))
    assert before is not None and after is not None
    assert after.loudness_lufs - before.loudness_lufs == pytest.approx(gain_db, abs=0.01)
    assert after.noise_floor_dbfs - before.noise_floor_dbfs == pytest.approx(gain_db, abs=0.01)
    assert after.snr_db == pytest.approx(before.snr_db, abs=0.01)
    assert after.bandwidth_hz == before.bandwidth_hz


def test_pauses_do_not_count_as_quieter_speech() -> None:
    speech, _ = phrases()
    padded = np.concatenate([speech, np.zeros(4 * RATE, np.float32)])
    loudness, padded_loudness = (integrated_loudness_lufs(one, RATE) for one in (speech, padded))
    assert loudness is not None and padded_loudness is not None
    assert abs(loudness - padded_loudness) < 0.5


def test_loudness_of_too_short_a_clip_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0.4 s"):
        integrated_loudness_lufs(voice(100.0, 0.3), RATE)


@pytest.mark.parametrize("snr_db", [0.0, 5.0, 10.0, 20.0, 30.0, 40.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_noise_mixed_at_a_known_ratio_is_recovered(snr_db: float, seed: int) -> None:
    speech, talking = phrases()
    power = float(np.mean(speech[talking].astype(np.float64) ** 2)) / 10 ** (snr_db / 10)
    estimate = estimate_noise((speech + white(4.0, power, seed)).astype(np.float32), RATE)
    assert estimate is not None
    assert estimate.snr_db == pytest.approx(snr_db, abs=1.0)
    assert estimate.floor_dbfs == pytest.approx(10 * np.log10(power), abs=1.0)


def test_noise_added_to_real_speech_is_recovered(corpus) -> None:
    clip = AudioClip.from_file(corpus / "speech" / "librispeech" / "19" / "19-198-0001.flac")
    before = estimate_noise(clip.samples, RATE)
    assert before is not None and before.snr_db > 20.0
    signal_power = 10 ** ((before.floor_dbfs + before.snr_db) / 10)
    noisy = clip.samples + white(len(clip.samples) / RATE, signal_power / 10.0)  # 10 dB
    after = estimate_noise(noisy.astype(np.float32), RATE)
    assert after is not None
    assert after.snr_db == pytest.approx(10.0, abs=2.0)


@pytest.mark.parametrize("cutoff_hz", [1000.0, 3400.0, 5500.0, 7000.0])
def test_a_low_pass_is_found_at_its_cut_off(cutoff_hz: float) -> None:
    spectrum = np.fft.rfft(white(3.0, 0.01))
    spectrum[np.fft.rfftfreq(3 * RATE, 1 / RATE) > cutoff_hz] = 0.0
    edge = effective_bandwidth_hz(np.fft.irfft(spectrum, 3 * RATE).astype(np.float32), RATE)
    assert edge == pytest.approx(cutoff_hz, abs=50.0)


def test_bandwidth_of_white_noise_is_half_the_rate() -> None:
    assert effective_bandwidth_hz(white(1.0, 0.01).astype(np.float32), RATE) == pytest.approx(RATE / 2, abs=10.0)


def test_silence_has_no_profile() -> None:
    for samples in (np.zeros(RATE, np.float32), white(1.0, 1e-9).astype(np.float32), np.full(RATE, 1e-5, np.float32)):
        assert profile_signal(AudioClip.from_array(samples, RATE)) is None
    assert (frame_levels_dbfs(np.zeros(RATE, np.float32), RATE) == SILENCE_DBFS).all()


def test_a_constant_offset_is_not_noise() -> None:
    samples = (phrases()[0] + white(4.0, 1e-6)).astype(np.float32)
    plain, shifted = estimate_noise(samples, RATE), estimate_noise(samples + np.float32(0.1), RATE)
    assert plain is not None and shifted is not None
    assert shifted.floor_dbfs == pytest.approx(plain.floor_dbfs, abs=0.05)
