"""The scorers built on acoustic measurements: identity, known changes, skips, and no dependence on the batch."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve, lfilter

from audiolm.audio import AudioClip
from evaluation.acoustics.reverberation import decay_time_s
from evaluation.metrics import Metric, Noted, ScoreInput, Skipped
from evaluation.metrics.acoustic_consistency import METRIC as CONSISTENCY
from evaluation.metrics.acoustic_consistency_f0 import METRIC as F0
from evaluation.metrics.acoustic_consistency_timbre import METRIC as TIMBRE
from evaluation.metrics.pitch import METRIC as PITCH
from evaluation.metrics.signal_quality import METRIC as QUALITY
from evaluation.metrics.signal_quality import clipped_share
from tests.evaluation_fakes import numbers_of

RATE = 16_000
PAIR = (CONSISTENCY, F0)
ALL = (CONSISTENCY, F0, PITCH, QUALITY)


def clip(
    f0_hz: float = 120.0, gain: float = 1.0, noise: float = 1e-3, seed: int = 0, seconds: float = 2.0
) -> AudioClip:
    count = int(seconds * RATE)
    time = np.arange(count) / RATE
    harmonics = np.stack([np.sin(2 * np.pi * f0_hz * k * time + k) / k for k in range(1, 20)])
    tone = harmonics.sum(axis=0) * ((time % 1.0) < 0.7)
    background = np.random.default_rng(seed).standard_normal(count) * noise
    return AudioClip.from_array(gain * (0.05 * tone + background), RATE)


def item(judged: AudioClip, prompt: AudioClip | None, name: str = "a") -> ScoreInput:
    return ScoreInput(item_id=name, role="continuation", clip=judged, prompt=prompt)


@pytest.mark.parametrize("metric", PAIR, ids=lambda metric: metric.spec.name)
def test_a_clip_against_itself_differs_by_nothing(metric: Metric) -> None:
    (outcome,) = metric.load("cpu")([item(clip(), clip())])
    assert outcome == {measure.name: 0.0 for measure in metric.spec.measures}


def test_known_changes_are_read_back() -> None:
    score, pitch = CONSISTENCY.load("cpu"), F0.load("cpu")
    louder = numbers_of(score([item(clip(gain=0.5), clip())])[0])
    noisier = numbers_of(score([item(clip(noise=1e-2), clip())])[0])
    higher = numbers_of(pitch([item(clip(f0_hz=120.0 * 2 ** (5 / 12)), clip())])[0])
    assert louder["loudness_difference_lu"] == pytest.approx(6.02, abs=0.05)
    assert louder["noise_floor_difference_db"] == pytest.approx(6.02, abs=0.05)
    assert louder["snr_difference_db"] == pytest.approx(0.0, abs=0.05)
    assert noisier["noise_floor_difference_db"] == pytest.approx(20.0, abs=0.5)
    assert noisier["snr_difference_db"] == pytest.approx(20.0, abs=1.0)
    assert higher["f0_difference_semitones"] == pytest.approx(5.0, abs=0.05)


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.spec.name)
def test_silence_is_skipped_with_a_reason(metric: Metric) -> None:
    silence = AudioClip.from_array(np.zeros(2 * RATE, np.float32), RATE)
    (outcome,) = metric.load("cpu")([item(silence, clip())])
    assert isinstance(outcome, Skipped)
    assert "the clip" in outcome.reason
    if metric in PAIR:
        (outcome,) = metric.load("cpu")([item(clip(), silence)])
        assert isinstance(outcome, Skipped)
        assert "the prompt" in outcome.reason


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.spec.name)
def test_outcomes_hold_every_measure_and_ignore_their_neighbours(metric: Metric) -> None:
    items = [item(clip(100.0 + 20 * k, seed=k, seconds=1.5 + 0.3 * k), clip(seed=9), str(k)) for k in range(4)]
    together = metric.load("cpu")(items)
    alone = [metric.load("cpu")([one])[0] for one in reversed(items)][::-1]
    assert together == alone
    for outcome in together:
        numbers = numbers_of(outcome)
        assert set(numbers) == {measure.name for measure in metric.spec.measures}
        for measure in metric.spec.measures:
            assert np.isfinite(numbers[measure.name])
            assert measure.low is None or numbers[measure.name] >= measure.low
            assert measure.high is None or numbers[measure.name] <= measure.high


def test_flat_tops_are_counted_and_single_peaks_are_not() -> None:
    samples = np.zeros(1000, np.float32)
    samples[100] = samples[200] = 1.0
    samples[300:310] = 1.0
    samples[400:405] = -1.0
    samples[500:502] = -1.0
    assert clipped_share(samples) == pytest.approx(15 / 1000)


def test_silence_share_of_a_clip_that_talks_seven_tenths_of_the_time() -> None:
    (outcome,) = QUALITY.load("cpu")([item(clip(noise=0.0, seconds=4.0), None)])
    assert numbers_of(outcome)["silence_share"] == pytest.approx(0.3, abs=0.03)


def syllables(rate: float, seconds: float = 5.0) -> AudioClip:
    """A voice of 120 Hz that opens and closes ``rate`` times a second."""
    time = np.arange(int(seconds * RATE)) / RATE
    tone = np.stack([np.sin(2 * np.pi * 120.0 * k * time + k) / k for k in range(1, 40)]).sum(axis=0)
    return AudioClip.from_array(0.05 * tone * (0.05 + np.clip(np.sin(2 * np.pi * rate * time), 0.0, 1.0)), RATE)


def test_pace_and_colour_are_read_back() -> None:
    (same,) = TIMBRE.load("cpu")([item(syllables(4.0), syllables(4.0))])
    assert not isinstance(same, (Skipped, Noted))
    assert same["spectrum_difference_db"] == same["tilt_difference_db_per_octave"] == 0.0
    (faster,) = TIMBRE.load("cpu")([item(syllables(6.0), syllables(3.0))])
    assert not isinstance(faster, (Skipped, Noted))
    assert faster["speaking_rate_difference"] == pytest.approx(3.0, abs=0.2)
    noise = np.random.default_rng(0).standard_normal(5 * RATE) * 0.05
    duller = 0.1 * np.asarray(lfilter([1.0], [1.0, -0.99], noise))
    (outcome,) = TIMBRE.load("cpu")([item(AudioClip.from_array(duller, RATE), AudioClip.from_array(noise, RATE))])
    assert not isinstance(outcome, (Skipped, Noted))
    assert outcome["tilt_difference_db_per_octave"] == pytest.approx(6.02, abs=0.4)


def test_longer_rooms_decay_more_slowly_at_any_gain() -> None:
    generator = np.random.default_rng(3)
    time = np.arange(8 * RATE) / RATE
    bursts = generator.standard_normal(len(time)) * 0.1 * ((time % 0.8) < 0.15)
    found = []
    for seconds in (0.2, 0.4, 0.7):
        response = np.arange(int(seconds * RATE)) / RATE
        wet = fftconvolve(bursts, generator.standard_normal(len(response)) * 10 ** (-3.0 * response / seconds))
        found.append(decay_time_s(wet[: len(time)], RATE))
        assert decay_time_s(0.01 * wet[: len(time)], RATE) == pytest.approx(found[-1], rel=1e-6)
    assert None not in found and found == sorted(found)
    assert found[0] == pytest.approx(0.2, rel=0.3) and found[2] == pytest.approx(0.7, rel=0.3)
    assert decay_time_s(np.zeros(RATE), RATE) is None
