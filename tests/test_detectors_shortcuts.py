"""Shortcut probes: each sees the difference it is for, none sees one where there is none; AUC as scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from detectors.shortcuts import PROBES, UNFAIR_AUC, audit_shortcuts

RATE_HZ = 16_000
LABELS = np.arange(60) % 2 == 0


def windows(seed: int = 0) -> list[np.ndarray]:
    """Bursts of noise over a quiet floor, alike in both classes."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(RATE_HZ) / RATE_HZ
    found = []
    for _ in LABELS:
        bursts = np.clip(np.sin(2 * np.pi * (4 * time_s + rng.random())), 0.0, None)
        found.append(((0.1 * bursts + 1e-3) * rng.standard_normal(RATE_HZ) * rng.uniform(0.5, 2.0)).astype(np.float32))
    return found


def smoothed(one: np.ndarray) -> np.ndarray:
    return np.convolve(one, np.ones(8) / 8, mode="same").astype(np.float32)


CHANGES = {
    "length_s": lambda one: one[:12_000],
    "silence_before_s": lambda one: np.concatenate([1e-4 * one[:8_000], one]),
    "silence_after_s": lambda one: np.concatenate([one, 1e-4 * one[:8_000]]),
    "level_dbfs": lambda one: one * 0.1,
    "offset": lambda one: one + 0.05,
    "bandwidth_hz": smoothed,
    "high_band_db": smoothed,
    "zero_share": lambda one: np.where(np.abs(one) < 2e-3, 0.0, one).astype(np.float32),
}


@pytest.mark.parametrize("probe", CHANGES)
def test_a_probe_sees_what_only_one_class_has(probe):
    changed = [CHANGES[probe](one) if label else one for one, label in zip(windows(), LABELS, strict=True)]
    assert audit_shortcuts(changed, LABELS)[probe] > 0.9 > UNFAIR_AUC


def test_alike_classes_are_fair_and_the_auc_is_scikit_learns():
    made = windows(3)
    found = audit_shortcuts(made, LABELS)
    assert set(found) == set(PROBES)
    for name, auc in found.items():
        expected = roc_auc_score(LABELS, [PROBES[name](one) for one in made])
        assert auc == pytest.approx(max(expected, 1.0 - expected)) and auc < 0.75


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="both classes"):
        audit_shortcuts(windows()[:2], np.asarray([True, True]))
