"""Calibration: identity on calibrated scores, recovery of an affine map, bounds, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.calibration import Calibration, fit_calibration
from detectors.error_rates import cllr, eer, min_cllr

MEAN = 2.0


def _calibrated_scores(count: int = 6000) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian log-likelihood ratios: mean +-m and variance 2 m are calibrated by construction."""
    rng = np.random.default_rng(3)
    spread = math.sqrt(2 * MEAN)
    return rng.normal(MEAN, spread, count), rng.normal(-MEAN, spread, count)


@pytest.mark.parametrize("prior", [0.2, 0.5, 0.9])
def test_calibrated_scores_stay_as_they_are(prior):
    fitted = fit_calibration(*_calibrated_scores(), p_bona_fide=prior)
    assert fitted.scale == pytest.approx(1.0, abs=0.05)
    assert fitted.offset == pytest.approx(0.0, abs=0.1)


def test_an_affine_distortion_is_undone_and_class_sizes_do_not_matter():
    bona, synth = _calibrated_scores()
    fitted = fit_calibration(0.25 * bona[:1500] - 7.0, 0.25 * synth - 7.0)
    assert fitted.scale == pytest.approx(4.0, rel=0.05)
    assert fitted.offset == pytest.approx(28.0, rel=0.05)
    assert cllr(fitted(0.25 * bona - 7.0), fitted(0.25 * synth - 7.0)) == pytest.approx(min_cllr(bona, synth), abs=0.01)


def test_separable_scores_give_a_finite_map_within_the_bounds_of_the_sample():
    fitted = fit_calibration([5.0, 6.0, 7.0], [-1.0, 0.0, 1.0], independent_bona=3, independent_synth=2)
    assert fitted.highest_llr == pytest.approx(math.log(3))
    assert fitted.lowest_llr == pytest.approx(-math.log(4))
    assert fitted([1e9, -1e9]) == pytest.approx([math.log(3), -math.log(4)])


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=20, unique=True))
def test_the_map_keeps_the_order(scores):
    fitted = Calibration(scale=1.3, offset=-0.4, independent_bona=50, independent_synth=80)
    ordered = fitted(sorted(scores))
    assert np.all(np.diff(ordered) >= 0)
    assert np.all((ordered > fitted.lowest_llr) & (ordered < fitted.highest_llr))


def test_bounding_leaves_small_ratios_and_the_error_rate_alone():
    bona, synth = _calibrated_scores()
    fitted = Calibration(scale=1.0, offset=0.0, independent_bona=5000, independent_synth=5000)
    assert fitted([0.0, 1.0, -1.0]) == pytest.approx([0.0, 1.0, -1.0], abs=2e-3)
    assert eer(fitted(bona), fitted(synth)) == eer(bona, synth)


def test_wrong_polarity_and_unusable_input_are_refused():
    bona, synth = _calibrated_scores(100)
    with pytest.raises(ValueError, match="polarity"):
        fit_calibration(synth, bona)
    with pytest.raises(ValueError, match="finite scores"):
        fit_calibration([1.0, float("nan")], [0.0])
    with pytest.raises(ValueError, match="finite scores"):
        fit_calibration([], [0.0])
    with pytest.raises(ValueError, match="p_bona_fide"):
        fit_calibration(bona, synth, p_bona_fide=0.0)


def test_json_round_trip_and_a_missing_field():
    fitted = Calibration(scale=2.0, offset=0.5, independent_bona=7, independent_synth=9)
    assert Calibration.from_dict(fitted.to_dict()) == fitted
    with pytest.raises(ValueError, match="'offset'"):
        Calibration.from_dict({"scale": 1.0, "independent_bona": 1, "independent_synth": 1})
