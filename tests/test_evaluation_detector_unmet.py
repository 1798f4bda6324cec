"""Generators that were never shown: what is kept away with each, how it is met, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from evaluation_fakes import noise_in_syllables

from detectors.feature_training import FeatureSet
from detectors.kinds import KINDS
from detectors.labelled import BONA_FIDE, LabelledClip
from evaluation import detector_unmet
from evaluation.detector_fusion import PARTS, FusionPlan, features_of
from evaluation.detector_unmet import NEVER_SHOWN, OWN_MODEL, Fold, kept_away, leave_out, macro
from evaluation.detector_windows import WindowSet

pytestmark = pytest.mark.usefixtures("everything_is_speech")


def clips() -> list[LabelledClip]:
    made = []
    for index in range(12):
        split, generator = ("held", "test")[index % 2], (BONA_FIDE, "espeak", "world")[index % 3]
        who = {"speaker_id": f"s{index}", "utterance_id": f"u-c-{index}"}
        made.append(
            LabelledClip(
                samples=noise_in_syllables(2.5, index), generator=generator, split=split, condition="raw", **who
            )
        )
    return made


def windows() -> WindowSet:
    kinds = np.asarray([0, KINDS.index("rule_voice"), 0, KINDS.index("signal_vocoder")] * 2)
    names = np.asarray(["raw", "espeak", "raw", "world"] * 2)
    samples = np.stack([noise_in_syllables(2.0, 50 + index) for index in range(8)])
    return WindowSet(
        samples=np.round(samples * 32767).astype(np.int16), kinds=kinds, generators=names, speakers=np.repeat("w", 8)
    )


def test_relatives_and_all_modes_of_our_own_model_are_kept_away_together():
    assert kept_away("espeak") == ("espeak",)
    assert kept_away("hifigan") == ("hifigan", "hifigan_bent", "hifigan_chained")
    assert all(name.startswith("own_") for name in kept_away(OWN_MODEL)) and len(kept_away(OWN_MODEL)) == 3
    assert len(NEVER_SHOWN) == len(set(NEVER_SHOWN)) == 19


def test_a_generator_is_in_neither_training_nor_calibration_and_is_met_alone(monkeypatch):
    shown: dict[str, FeatureSet] = {"mel_anew": features_of(windows(), PARTS["mel_anew"].features)}
    seen = []

    def trained(name, training, held, plan, without):
        seen.append((name, without))
        network = PARTS[name].network
        return network().state_dict() if network else {}

    monkeypatch.setattr(detector_unmet, "fit_part", trained)
    monkeypatch.setattr(detector_unmet, "channelled", lambda clips, seed, every: clips)
    scored = []
    score = detector_unmet.score_parts
    monkeypatch.setattr(detector_unmet, "score_parts", lambda parts, clips: scored.append(clips) or score(parts, clips))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        try:
            fold = leave_out("espeak", shown, shown, windows(), clips(), FusionPlan(steps={"mel_anew": 1}))
        except ValueError as error:  # a network that was not trained may rank the wrong way round
            assert "polarity" in str(error)
            fold = None
    assert seen == [("mel_anew", ("espeak",))]
    calibrated, met = scored
    assert {clip.generator for clip in calibrated} == {BONA_FIDE, "world"} and {c.split for c in calibrated} == {"held"}
    assert {clip.generator for clip in met} == {BONA_FIDE, "espeak"} and {clip.split for clip in met} == {"test"}
    assert fold is None or (fold.generator == "espeak" and set(fold.genuine) == {"mel_anew"})
    with pytest.raises(ValueError, match="no test clips of piper"):
        leave_out("piper", shown, shown, windows(), clips(), FusionPlan(steps={"mel_anew": 1}))


def _fold(genuine: np.ndarray, synthetic: np.ndarray) -> Fold:
    return Fold(
        generator="x",
        genuine={"d": genuine},
        synthetic={"d": synthetic},
        genuine_speakers=[f"s{index % 5}" for index in range(genuine.size)],
        synthetic_speakers=[f"s{index % 5}" for index in range(synthetic.size)],
        thresholds={"d": -0.5},
    )


def test_rates_of_folds_and_their_mean_with_interval():
    apart = _fold(np.linspace(1.0, 2.0, 20), np.linspace(-2.0, -1.0, 20))
    alike = _fold(np.linspace(-1.0, 1.0, 21), np.linspace(-1.0, 1.0, 21))
    assert apart.eer("d") == 0.0 and apart.caught("d") == 1.0
    assert alike.eer("d") == pytest.approx(0.5) and alike.caught("d") == pytest.approx(5 / 21)
    assert macro([apart, apart], "d") == (0.0, 0.0, 0.0)
    rng = np.random.default_rng(0)
    near = _fold(rng.normal(0.5, 1.0, 20), rng.normal(-0.5, 1.0, 20))
    mean, low, high = macro([apart, near], "d")
    assert mean == pytest.approx(near.eer("d") / 2) and low <= mean <= high and low < high
    assert macro([apart, near], "d") == (mean, low, high)
    twice = macro([near, near], "d")  # the same speakers are drawn for all folds
    assert twice == pytest.approx(macro([near], "d"))
    few = replace(alike, genuine_speakers=["a"] * 21, synthetic_speakers=["b"] * 21)  # voices too few to draw from
    assert macro([few], "d")[1:] == pytest.approx((0.5, 0.5))
