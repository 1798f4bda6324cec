"""Windows moved as generators differ: which rows move, where to, and that a network learns from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.error_rates import eer
from detectors.feature_training import FeatureSet, fit_on_features, scores_of
from detectors.networks.statistics import SAY, StatisticsNetwork
from detectors.training import TrainConfig
from detectors.unmet_generators import REACH, SHARE, UnmetGenerators


def set_of(seed: int = 0, each: int = 60) -> FeatureSet:
    """Genuine windows about 0; four generators that lie apart along numbers 0 to 3 of 12."""
    rng = np.random.default_rng(seed)
    rows, names = [rng.standard_normal((4 * each, 12))], ["bona_fide"] * (4 * each)
    for place in range(4):
        moved = rng.standard_normal((each, 12))
        moved[:, place] += 5.0
        rows.append(moved)
        names += [f"generator{place}"] * each
    kinds = np.repeat([0, 4], 4 * each)
    features = torch.from_numpy(np.concatenate(rows).astype(np.float32))
    return FeatureSet(features=features, kinds=kinds, generators=np.asarray(names))


def test_only_synthetic_rows_move_and_only_where_generators_differ():
    windows = set_of()
    unmet = UnmetGenerators(windows.features, windows.kinds >= 2, windows.generators)
    synthetic = torch.from_numpy(windows.kinds >= 2)
    moved = unmet(windows.features, synthetic, np.random.default_rng(1)) - windows.features
    assert not moved[~synthetic].any()
    share = float((moved[synthetic].abs().sum(1) > 0).float().mean())
    assert share == pytest.approx(SHARE, abs=0.1)
    assert unmet.differences.sum(0).abs().max() < 1e-4
    outside = moved - moved @ torch.linalg.pinv(unmet.differences) @ unmet.differences
    assert outside.abs().max() < 1e-3  # nothing but mixtures of the differences
    spread = float(moved[synthetic].square().sum(1).mean())
    expected = SHARE * REACH**2 / 3 * float(unmet.differences.square().sum()) / len(unmet.differences)
    assert spread == pytest.approx(expected, rel=0.25)
    again = unmet(windows.features, synthetic, np.random.default_rng(1)) - windows.features
    assert torch.equal(moved, again)


def test_one_generator_alone_tells_nothing_of_others():
    windows = set_of()
    with pytest.raises(ValueError, match="at least two"):
        UnmetGenerators(windows.features, windows.generators == "generator1", windows.generators)


def test_both_ways_of_a_network_are_trained_and_weighed_by_their_say():
    windows, held = set_of(), set_of(1)
    torch.manual_seed(0)
    network = StatisticsNetwork(12, 16)
    network.adapt(windows.features)
    unmet = UnmetGenerators(windows.features, windows.kinds >= 2, windows.generators)
    config = TrainConfig(seed=0, steps=400, check_every=400, batch=64)
    history = fit_on_features(network, windows, held, config, unmet)
    network.level(windows.features)
    assert history[-1]["held_eer"] < 0.15
    with torch.inference_mode():
        ways = network.logits(held.features)
        odds = torch.logsumexp(ways[:, :, :2], 2) - torch.logsumexp(ways[:, :, 2:], 2)
    genuine = held.kinds < 2
    for way in odds.numpy():
        assert eer(way[genuine], way[~genuine]) < 0.2
    with torch.inference_mode():
        shown = network.logits(windows.features)
        spread = (torch.logsumexp(shown[:, :, :2], 2) - torch.logsumexp(shown[:, :, 2:], 2)).std(1)
    np.testing.assert_allclose(
        scores_of(network, held.features), torch.tensor(SAY) @ (odds / spread[:, None]), atol=1e-4
    )
