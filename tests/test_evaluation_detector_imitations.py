"""Imitated artefacts: same length and level, deterministic, changed in the way their name says."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.kinds import BONA_FIDE_KINDS, KINDS, kind_of
from evaluation.detector_imitations import IMITATIONS
from evaluation.detector_more import drawn_geometry

RATE_HZ = 16_000


def voiced(seconds: float = 1.5, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    sound = sum(np.sin(2 * np.pi * 130.0 * k * time_s + k * k) / k for k in range(1, 50))
    envelope = 0.6 + 0.4 * np.sin(2 * np.pi * 3.0 * time_s)
    return (0.1 * envelope * sound + 0.002 * rng.standard_normal(time_s.size)).astype(np.float32)


@pytest.mark.parametrize("name", sorted(IMITATIONS))
def test_length_level_and_bytes_are_kept(name):
    sound = voiced()
    for seed in range(3):
        made = IMITATIONS[name](sound, np.random.default_rng(seed))
        again = IMITATIONS[name](sound, np.random.default_rng(seed))
        assert made.shape == sound.shape and made.dtype == np.float32
        assert np.isfinite(made).all() and np.abs(made).max() <= 1.0
        np.testing.assert_array_equal(made, again)
        assert np.sqrt(np.mean(made**2)) == pytest.approx(np.sqrt(np.mean(sound**2)), rel=0.02)
        assert np.abs(made - sound).max() > 1e-3


def test_band_filled_leaves_the_low_band():
    sound = voiced()
    made = IMITATIONS["band_filled"](sound, np.random.default_rng(4))
    low = slice(0, int(0.1 * sound.size / 2))
    before, after = np.abs(np.fft.rfft(sound))[low], np.abs(np.fft.rfft(made))[low]
    assert np.corrcoef(before, after)[0, 1] > 0.99


def test_every_imitation_is_synthetic():
    for name in (*IMITATIONS, "neural_drawn"):
        assert KINDS.index(kind_of(name, "raw")) >= BONA_FIDE_KINDS


def test_drawn_geometries_differ_and_fit_together():
    drawn = [drawn_geometry(np.random.default_rng(seed)) for seed in range(12)]
    assert len({(one.front, one.back, one.hop, one.rate_hz) for one in drawn}) > 6
    for one in drawn:
        assert (one.strides == ()) == (one.back in ("stft", "transposed"))
        assert not one.strides or int(np.prod(one.strides)) == one.hop
