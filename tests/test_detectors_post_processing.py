"""Every change of the robustness grid: reproducible, finite, and doing what its name says."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.post_processing import CLEAN, POST_PROCESSING, convolved, with_noise

RATE_HZ = 16_000


def glide() -> np.ndarray:
    """Two seconds with energy at all frequencies and a peak below 1."""
    rng = np.random.default_rng(0)
    time_s = np.arange(2 * RATE_HZ) / RATE_HZ
    envelope = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * time_s)
    return (0.1 * envelope * rng.standard_normal(time_s.size)).clip(-0.9, 0.9).astype(np.float32)


def changed(name: str, samples: np.ndarray, seed: int = 0) -> np.ndarray:
    return POST_PROCESSING[name](samples, np.random.default_rng(seed))


@pytest.mark.parametrize("name", POST_PROCESSING)
def test_same_seed_same_bytes_finite_and_about_as_long(name):
    samples = glide()
    first, second = changed(name, samples), changed(name, samples)
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float32 and np.isfinite(first).all()
    assert 0.8 * samples.size <= first.size <= 2.1 * samples.size
    np.testing.assert_array_equal(samples, glide())  # the input is not touched
    if name == CLEAN:
        np.testing.assert_array_equal(first, samples)


def peak_hz(samples: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(samples.size)))) * RATE_HZ / samples.size)


@pytest.mark.parametrize(
    ("name", "hz", "seconds"),
    [
        ("pitch +1 semitone", 440 * 2 ** (1 / 12), 2.0),
        ("pitch -1 semitone", 440 * 2 ** (-1 / 12), 2.0),
        ("speed 1.1", 484.0, 2 / 1.1),
        ("speed 0.9", 396.0, 2 / 0.9),
    ],
)
def test_pitch_and_speed(name, hz, seconds):
    tone = (0.3 * np.sin(2 * np.pi * 440.0 * np.arange(2 * RATE_HZ) / RATE_HZ)).astype(np.float32)
    made = changed(name, tone)
    assert peak_hz(made) == pytest.approx(hz, rel=0.004) and made.size == pytest.approx(seconds * RATE_HZ, abs=2)


def test_noise_has_the_ratio_it_says_and_a_filter_keeps_the_level():
    samples = glide().astype(np.float64)
    added = with_noise(samples.astype(np.float32), np.ones(100), 20.0) - samples
    assert 10 * np.log10(np.mean(samples**2) / np.mean(added**2)) == pytest.approx(20.0, abs=0.01)
    made = convolved(samples.astype(np.float32), np.asarray([0.0, 0.0, 3.0]))
    np.testing.assert_allclose(
        made[2:], samples[:-2] * np.sqrt(np.sum(samples**2) / np.sum(samples[:-2] ** 2)), atol=1e-5
    )


def test_bands_and_clipping():
    spectrum = np.abs(np.fft.rfft(changed("low-pass 4 kHz", glide()))) ** 2
    assert spectrum[int(4_100 * 2) :].sum() < 1e-6 * spectrum.sum()
    high = np.abs(np.fft.rfft(changed("high-pass 300 Hz", glide()))) ** 2
    assert high[: int(250 * 2)].sum() < 1e-3 * high.sum()
    clipped = changed("clipped, 0.5 % of samples", glide())
    assert 0.003 < np.mean(np.abs(clipped) >= np.abs(clipped).max() - 1e-6) < 0.008
