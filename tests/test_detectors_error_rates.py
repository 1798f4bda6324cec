"""Error rates against closed forms, scikit-learn, hand-worked cases, and identities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import auc, roc_auc_score, roc_curve

from detectors.error_rates import (
    act_dcf,
    bayes_threshold,
    cllr,
    det_curve,
    eer,
    eer_asvspoof,
    eer_threshold,
    error_rates_at,
    min_cllr,
    min_dcf,
    softplus,
    tied_share,
)

SCORES = st.lists(st.integers(-4, 4), min_size=1, max_size=25)


@pytest.fixture
def gaussian() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    return rng.normal(1.0, 1.0, 4000), rng.normal(-1.0, 1.0, 3000)


def _lowest_bayes_error_at_worst_prior(bona: list[int], synth: list[int]) -> float:
    p_false_alarm, p_miss = det_curve(bona, synth)
    priors = np.linspace(0.0, 1.0, 4001)[:, None]
    return float((priors * p_miss + (1 - priors) * p_false_alarm).min(axis=1).max())


def test_det_curve_holds_the_roc_points_of_scikit_learn(gaussian):
    bona, synth = (np.round(scores, 1) for scores in gaussian)
    labels, scores = np.r_[np.ones(bona.size), np.zeros(synth.size)], np.r_[bona, synth]
    false_positive, true_positive, _ = roc_curve(labels, scores, drop_intermediate=False)
    p_false_alarm, p_miss = det_curve(bona, synth)
    np.testing.assert_allclose(p_false_alarm[::-1], false_positive, atol=1e-12)
    np.testing.assert_allclose(1.0 - p_miss[::-1], true_positive, atol=1e-12)
    assert auc(p_false_alarm[::-1], 1.0 - p_miss[::-1]) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


@pytest.mark.parametrize("variant", ["interpolated", "rocch"])
def test_eer_of_two_gaussians_is_the_closed_form(gaussian, variant):
    assert eer(*gaussian, variant=variant) == pytest.approx(norm.cdf(-1.0), abs=0.01)


@pytest.mark.parametrize(
    ("bona", "synth", "interpolated", "rocch", "step"),
    [
        ([2, 3], [0, 1], 0.0, 0.0, 0.0),
        ([1, 1], [1, 1, 1], 0.5, 0.5, 1.0),
        ([0, 1], [2, 3], 1.0, 0.5, 1.0),
        ([1, 3], [0, 2], 0.5, 0.25, 0.5),
        ([0, 2, 3, 4], [-2, -1, 0, 1], 0.25, 1 / 6, 0.25),
    ],
)
def test_eer_hand_worked(bona, synth, interpolated, rocch, step):
    assert eer(bona, synth) == pytest.approx(interpolated)
    assert eer(bona, synth, variant="rocch") == pytest.approx(rocch)
    assert eer_asvspoof(bona, synth) == pytest.approx(step)


def test_step_eer_differs_from_the_interpolated_one_only_through_ties(gaussian):
    assert eer_asvspoof(*gaussian) == pytest.approx(eer(*gaussian), abs=5e-4)
    rounded = [np.round(scores) for scores in gaussian]
    assert tied_share(*rounded) > 0.99
    assert tied_share(*gaussian) == 0.0
    assert eer_asvspoof(*rounded) > eer(*rounded) + 0.05


@settings(max_examples=80, deadline=None)
@given(SCORES, SCORES)
def test_rocch_eer_is_the_worst_prior_bayes_error_and_never_above_the_interpolated(bona, synth):
    rocch = eer(bona, synth, variant="rocch")
    assert rocch == pytest.approx(_lowest_bayes_error_at_worst_prior(bona, synth), abs=3e-4)
    assert rocch <= eer(bona, synth) + 1e-12


@settings(max_examples=50, deadline=None)
@given(SCORES, SCORES)
def test_rates_do_not_change_under_increasing_maps(bona, synth):
    stretched = np.exp(np.asarray(bona) / 2.0), np.exp(np.asarray(synth) / 2.0)
    for measure in (eer, eer_asvspoof, min_dcf, min_cllr):
        assert measure(*stretched) == pytest.approx(measure(bona, synth), abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(SCORES, SCORES)
def test_min_cllr_equals_isotonic_regression(bona, synth):
    labels = np.r_[np.ones(len(bona)), np.zeros(len(synth))]
    weights = np.r_[np.full(len(bona), 1 / len(bona)), np.full(len(synth), 1 / len(synth))]
    fitted = IsotonicRegression().fit(np.r_[bona, synth], labels, sample_weight=weights)
    p = fitted.predict(np.r_[bona, synth])
    with np.errstate(divide="ignore"):
        llr = np.log(p) - np.log1p(-p)
    assert min_cllr(bona, synth) == pytest.approx(cllr(llr[: len(bona)], llr[len(bona) :]), abs=1e-9)
    assert min_cllr(bona, synth) <= min(1.0, cllr(bona, synth)) + 1e-12


def test_min_cllr_extremes():
    assert min_cllr([1, 2, 3], [1, 2, 3]) == pytest.approx(1.0)
    assert min_cllr([4, 5], [1, 2]) == 0.0


def test_cllr_of_no_evidence_is_one_bit_and_huge_ratios_stay_finite():
    assert cllr([0.0, 0.0], [0.0]) == pytest.approx(1.0)
    assert cllr([-2000.0], [2000.0]) == pytest.approx(2000.0 / math.log(2.0))
    assert cllr([2000.0], [-2000.0]) == 0.0
    np.testing.assert_allclose(softplus([-800.0, 0.0, 800.0]), [0.0, math.log(2.0), 800.0])


def test_asvspoof5_operating_point():
    assert bayes_threshold() == pytest.approx(-math.log(1.9))
    bona, synth = [2.0, -1.0], [-3.0, 0.5, -2.0, -4.0]
    assert error_rates_at(bona, synth, bayes_threshold()) == (0.25, 0.5)
    assert act_dcf(bona, synth) == pytest.approx(1.9 * 0.5 + 0.25)
    assert min_dcf(bona, synth) == pytest.approx(0.25)
    assert min_dcf([1.0], [1.0]) == pytest.approx(1.0)


def test_actual_cost_of_calibrated_gaussian_scores_is_near_the_minimum():
    rng = np.random.default_rng(0)
    bona, synth = rng.normal(2.0, 2.0, 20_000), rng.normal(-2.0, 2.0, 20_000)
    assert min_dcf(bona, synth) <= act_dcf(bona, synth) <= min_dcf(bona, synth) * 1.03
    assert cllr(bona, synth) - min_cllr(bona, synth) < 0.01


def test_threshold_at_the_eer_gives_that_error(gaussian):
    bona, synth = gaussian
    p_false_alarm, p_miss = error_rates_at(bona, synth, eer_threshold(bona, synth))
    assert p_miss == pytest.approx(eer(*gaussian), abs=1e-3)
    assert p_false_alarm == pytest.approx(eer(*gaussian), abs=1e-3)


@pytest.mark.parametrize(
    ("bona", "synth", "message"),
    [([], [1.0], "bona fide scores"), ([1.0], [[1.0]], "synthetic scores"), ([1.0], [float("nan")], "1 NaN")],
)
def test_unusable_scores_are_refused(bona, synth, message):
    for measure in (eer, cllr, min_dcf, min_cllr, eer_asvspoof, det_curve):
        with pytest.raises(ValueError, match=message):
            measure(bona, synth)


def test_unknown_variant_and_impossible_prior_are_refused():
    with pytest.raises(ValueError, match="use 'interpolated'"):
        eer([1.0], [0.0], variant="best")
    with pytest.raises(ValueError, match="prior"):
        min_dcf([1.0], [0.0], p_synthetic=1.0)
