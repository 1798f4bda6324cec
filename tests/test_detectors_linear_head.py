"""A detector of one weighted sum: fit, polarity, weights on disk, what it tells of its numbers."""

from __future__ import annotations

import numpy as np
import pytest

from detectors import Measured
from detectors.calibration import Calibration
from detectors.linear_head import FARTHEST, HeadDetector, LinearHead, fit_head

RATE_HZ = 16_000
CALIBRATION = Calibration(scale=1.0, offset=0.0, independent_bona=99, independent_synth=99)
CONFIG = {"threshold_llr": -0.5, "calibration": CALIBRATION.to_dict(), "model_parts": {"codec": "ab"}}


def two_classes(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Genuine windows lie higher in the first number by two deviations; the second says nothing."""
    rng = np.random.default_rng(seed)
    genuine = np.arange(400) % 2 == 0
    return rng.standard_normal((400, 2)) * [1.0, 50.0] + np.outer(genuine, [2.0, 0.0]), genuine


def test_a_fitted_head_is_the_log_likelihood_ratio_of_two_gaussians():
    vectors, genuine = two_classes()
    head = fit_head(vectors, genuine, np.ones(400), ridge=1e-3)
    slope = float(head.weight[0] / head.spread[0])
    assert 1.5 < slope < 2.7  # the ratio's true slope is 2 per unit
    assert abs(head.weight[1]) < 0.3 * head.weight[0]
    assert abs(float(head(np.array([[1.0, 0.0]]))[0])) < 0.5  # half-way between the classes: no ratio
    assert head(vectors[genuine]).mean() > head(vectors[~genuine]).mean()


def test_the_prior_and_the_number_of_clips_move_no_ratio():
    vectors, genuine = two_classes()
    many = np.concatenate([vectors, *[vectors[~genuine]] * 9]), np.concatenate([genuine, np.zeros(1800, bool)])
    first = fit_head(vectors, genuine, np.ones(400), ridge=1e-6)
    second = fit_head(*many, np.ones(2200), ridge=1e-6, p_bona_fide=0.5)
    np.testing.assert_allclose(second(vectors), first(vectors), atol=0.02)


def test_squares_tell_classes_of_different_width():
    rng = np.random.default_rng(0)
    genuine = np.arange(2000) % 2 == 0
    vectors = rng.standard_normal((2000, 1)) * np.where(genuine, 1.0, 2.0)[:, None]
    head = fit_head(vectors, genuine, np.ones(2000), ridge=1e-3, squares=True)
    truth = np.log(2.0) - 0.5 * vectors[:, 0] ** 2 * (1.0 - 0.25)
    near = np.abs(vectors[:, 0]) < 3
    assert np.abs(head(vectors)[near] - truth[near]).max() < 0.5
    back = LinearHead.from_tensors(head.tensors(), 1)
    np.testing.assert_allclose(back(vectors), head(vectors), atol=1e-4)


def test_a_number_far_off_counts_no_further():
    head = LinearHead(np.zeros(1, np.float32), np.ones(1, np.float32), np.ones(1, np.float32), 0.0)
    assert head(np.array([[1e9]]))[0] == FARTHEST


def test_a_head_comes_back_from_its_tensors_and_one_of_another_size_is_refused():
    vectors, genuine = two_classes()
    head = fit_head(vectors, genuine, np.ones(400), ridge=1.0)
    back = LinearHead.from_tensors(head.tensors(), 2)
    np.testing.assert_allclose(back(vectors), head(vectors), atol=1e-5)
    with pytest.raises(ValueError, match="no sum of 3 numbers"):
        LinearHead.from_tensors(head.tensors(), 3)
    with pytest.raises(ValueError, match="both classes"):
        fit_head(vectors, np.ones(400, bool), np.ones(400), ridge=1.0)


def level_of(samples: np.ndarray, windows) -> np.ndarray:
    return np.array([[float(np.sqrt(np.mean(samples[a:b] ** 2)))] for a, b in windows])


@pytest.fixture
def detector(everything_is_speech) -> HeadDetector:
    head = LinearHead(np.zeros(1, np.float32), np.ones(1, np.float32), np.full(1, 10.0, np.float32), 0.0)
    told = [(0, Measured(name="level", value=0.0, unit="of full scale", bona_fide=(0.1, 0.2), synthetic=(0.0, 0.1)))]
    return HeadDetector("level", level_of, head, CONFIG, None, told)


def speech(seconds: float) -> np.ndarray:
    rng = np.random.default_rng(3)
    time_s = np.arange(int(seconds * RATE_HZ)) / RATE_HZ
    envelope = np.clip(np.sin(2 * np.pi * 3.1 * time_s) + 0.4 * np.sin(2 * np.pi * 1.3 * time_s), 0.0, None)
    return ((0.001 + 0.1 * envelope) * rng.standard_normal(time_s.size)).astype(np.float32)


def test_a_verdict_tells_the_mean_of_its_numbers_over_the_windows(detector):
    verdict = detector.judge(speech(6.0), RATE_HZ)
    (number,) = verdict.measured
    assert (number.name, number.bona_fide) == ("level", (0.1, 0.2))
    assert verdict.llr == pytest.approx(float(CALIBRATION(10.0 * number.value)), abs=1e-9)
    assert detector.describe()["model_parts"] == {"codec": "ab"}
    assert detector.judge(speech(0.5), RATE_HZ).measured == ()


def test_same_sound_same_verdict_wherever_its_blocks_end(detector):
    samples = speech(7.0)
    whole = detector.judge_blocks([samples], RATE_HZ, frames=True)
    pieces = detector.judge_blocks(np.array_split(samples, 5), RATE_HZ, frames=True)
    assert whole == pieces == detector.judge_blocks([samples], RATE_HZ, frames=True)
    assert len(whole.frames) > len(whole.timeline)
