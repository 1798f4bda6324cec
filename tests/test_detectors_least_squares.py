"""A sum in closed form: against scikit-learn, what it leaves out, and a network that looks in two ways."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from detectors.error_rates import eer
from detectors.feature_training import FeatureSet, fit_on_features, scores_of
from detectors.kinds import KINDS
from detectors.least_squares import POWER, RIDGE, fit_sum
from detectors.networks.statistics import MOST, SUM_SAY, StatisticsNetwork
from detectors.training import TrainConfig

NUMBERS = 12
RECORDING, OWN_CODEC, SYNTHETIC = KINDS.index("recording"), KINDS.index("own_codec"), KINDS.index("neural_codec")


def windows_of(seed: int = 0, each: int = 60) -> FeatureSet:
    """Recordings about 0, our codec beside them along number 8, four generators apart along numbers 0 to 3."""
    rng = np.random.default_rng(seed)
    rows, names, kinds = [rng.standard_normal((4 * each, NUMBERS))], ["raw"] * (4 * each), [RECORDING] * (4 * each)
    coded = rng.standard_normal((each, NUMBERS))
    coded[:, 8] += 4.0
    rows, names, kinds = [*rows, coded], names + ["own_codec"] * each, kinds + [OWN_CODEC] * each
    for place in range(4):
        moved = rng.standard_normal((each + 20 * place, NUMBERS))
        moved[:, place] += 4.0
        rows.append(moved)
        names += [f"generator{place}"] * len(moved)
        kinds += [SYNTHETIC] * len(moved)
    features = torch.from_numpy(np.concatenate(rows).astype(np.float32))
    return FeatureSet(features=features, kinds=np.asarray(kinds), generators=np.asarray(names))


def plain(features: torch.Tensor) -> torch.Tensor:
    return features


def test_weights_are_those_of_scikit_learns_ridge_regression():
    shown = windows_of()
    weights, offset = fit_sum(plain, shown.features, shown.kinds, shown.generators)
    used = shown.kinds != OWN_CODEC
    names, counts = np.unique(shown.generators[shown.kinds == SYNTHETIC], return_counts=True)
    shares = dict(zip(names, counts**POWER / (counts**POWER).sum() / counts / 2, strict=True))
    recordings = int((shown.kinds == RECORDING).sum())
    each = np.asarray([shares.get(name, 0.5 / recordings) for name in shown.generators[used]])
    theirs = Ridge(alpha=RIDGE)
    theirs.fit(shown.features[used].numpy(), np.where(shown.kinds[used] == RECORDING, 0.5, -0.5), sample_weight=each)
    np.testing.assert_allclose(weights, theirs.coef_, atol=1e-4)
    assert float(offset) == pytest.approx(float(theirs.intercept_), abs=1e-4)


def test_recordings_through_our_codec_are_in_neither_class():
    shown = windows_of()
    moved = shown.features.clone()
    moved[torch.from_numpy(shown.kinds == OWN_CODEC)] += 7.0
    before = fit_sum(plain, shown.features, shown.kinds, shown.generators)
    after = fit_sum(plain, moved, shown.kinds, shown.generators)
    assert torch.equal(before[0], after[0]) and torch.equal(before[1], after[1])


@pytest.mark.parametrize("kept", [RECORDING, SYNTHETIC])
def test_one_class_alone_is_refused(kept: int):
    shown = windows_of()
    mask = shown.kinds == kept
    with pytest.raises(ValueError, match="one of them has no windows"):
        fit_sum(plain, shown.features[torch.from_numpy(mask)], shown.kinds[mask], shown.generators[mask])


@pytest.fixture(scope="module")
def fitted() -> StatisticsNetwork:
    shown, held = windows_of(), windows_of(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = StatisticsNetwork(NUMBERS, 16)
    network.adapt(shown.features)
    config = TrainConfig(seed=0, steps=400, check_every=400, batch=64)
    history = fit_on_features(network, shown, held, config)
    assert history[-1]["held_eer"] < 0.15
    network.fit_sum(shown.features, shown.kinds, shown.generators)
    return network


def test_either_way_of_a_network_tells_the_classes_apart(fitted: StatisticsNetwork):
    held = windows_of(1)
    with torch.inference_mode():
        logits = fitted.logits(held.features)
        odds = (logits[:, :2].logsumexp(1) - logits[:, 2:].logsumexp(1)).numpy()
        summed = fitted.sum(fitted.terms(held.features))[:, 0].numpy()
    recorded, made = held.kinds == RECORDING, held.kinds == SYNTHETIC
    assert eer(odds[recorded], odds[made]) < 0.15 and eer(summed[recorded], summed[made]) < 0.15
    shown = windows_of()
    with torch.inference_mode():
        logits = fitted.logits(shown.features)
        spread = (logits[:, :2].logsumexp(1) - logits[:, 2:].logsumexp(1)).std()
        assert float(fitted.reach) == pytest.approx(float(spread / fitted.sum(fitted.terms(shown.features)).std()))


def test_the_layers_say_is_bounded_and_the_sum_has_none_about_our_codec(fitted: StatisticsNetwork):
    held = windows_of(1)
    found = scores_of(fitted, held.features)
    with torch.inference_mode():
        logits = fitted.logits(held.features).double().numpy()
        summed = (fitted.sum(fitted.terms(held.features))[:, 0] * fitted.reach).double().numpy()
    synthetic = np.log(np.exp(logits[:, 2:]).sum(axis=1))
    recording, own_codec = (np.minimum(logits[:, kind] - synthetic, MOST) for kind in (RECORDING, OWN_CODEC))
    assert math.isclose(MOST, math.log(2.0)) and (recording == MOST).any()
    expected = np.logaddexp((1 - SUM_SAY) * recording + SUM_SAY * summed, (1 - SUM_SAY) * own_codec)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_what_is_unlike_all_that_was_shown_is_not_believed_for_that(fitted: StatisticsNetwork):
    """Far beyond the recordings, where layers may say anything, they add no more than their bound."""
    far = torch.zeros(50, NUMBERS)
    far[:, :4] = -torch.linspace(3.0, 40.0, 50)[:, None]
    with torch.inference_mode():
        summed = (fitted.sum(fitted.terms(far))[:, 0] * fitted.reach).numpy()
    most = np.logaddexp((1 - SUM_SAY) * MOST + SUM_SAY * summed, (1 - SUM_SAY) * MOST)
    assert (scores_of(fitted, far) <= most + 1e-5).all()
