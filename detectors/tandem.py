"""Costs of a detector in tandem with speaker verification: t-DCF (2019 and 2020 forms) and a-DCF.

Conventions of :mod:`detectors.error_rates`. ``Rates`` of the verification system at its own threshold: ``p_miss`` of
target speakers, ``p_fa_non`` of other speakers, ``p_fa_spoof`` of synthetic speech that it accepts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from detectors.error_rates import det_curve, eer_threshold

__all__ = ["CostModel", "VerificationRates", "a_dcf", "t_dcf", "t_dcf_2019", "verification_rates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Priors of target, other and synthetic trials, and costs of a miss and of either false acceptance (ASVspoof 5)."""

    p_target: float = 0.95 * 0.99
    p_nontarget: float = 0.95 * 0.01
    p_spoof: float = 0.05
    cost_miss: float = 1.0
    cost_fa: float = 10.0
    cost_fa_spoof: float = 10.0

    def __post_init__(self) -> None:
        total = self.p_target + self.p_nontarget + self.p_spoof
        if min(self.p_target, self.p_nontarget, self.p_spoof) < 0.0 or abs(total - 1.0) > 1e-9:
            raise ValueError(
                f"priors sum to {total:g}; give shares of target, other and synthetic trials that sum to 1"
            )
        if min(self.cost_miss, self.cost_fa, self.cost_fa_spoof) <= 0.0:
            raise ValueError("costs must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationRates:
    p_miss: float
    p_fa_non: float
    p_fa_spoof: float


def verification_rates(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike) -> VerificationRates:
    """Rates of a verification system at its equal-error threshold between target and other speakers."""
    threshold = eer_threshold(target, nontarget)
    accepted = [
        float(np.mean(np.asarray(scores, dtype=np.float64) >= threshold)) for scores in (target, nontarget, spoof)
    ]
    return VerificationRates(p_miss=1.0 - accepted[0], p_fa_non=accepted[1], p_fa_spoof=accepted[2])


def t_dcf(bona: ArrayLike, synth: ArrayLike, asv: VerificationRates, model: CostModel | None = None) -> float:
    """Least normalised t-DCF over the detector's thresholds, 2020 form (Kinnunen et al. 2020, eq. 10).

    ``[C0 + C1 Pmiss + C2 Pfa] / [C0 + min(C1, C2)]``; 1 is the better of the two constant detectors.
    """
    model = model or CostModel()
    c0 = model.p_target * model.cost_miss * asv.p_miss + model.p_nontarget * model.cost_fa * asv.p_fa_non
    c1, c2 = model.p_target * model.cost_miss - c0, model.p_spoof * model.cost_fa_spoof * asv.p_fa_spoof
    _check_weights(c1, c2)
    p_fa, p_miss = det_curve(bona, synth)
    return float(((c0 + c1 * p_miss + c2 * p_fa) / (c0 + min(c1, c2))).min())


def t_dcf_2019(bona: ArrayLike, synth: ArrayLike, asv: VerificationRates) -> float:
    """Least normalised t-DCF of ASVspoof 2019 (its evaluation plan: costs 1, 10 for both systems; priors as 2020)."""
    model = CostModel()
    c1 = model.p_target * (1.0 - 1.0 * asv.p_miss) - model.p_nontarget * 10.0 * asv.p_fa_non
    c2 = 10.0 * model.p_spoof * asv.p_fa_spoof
    _check_weights(c1, c2)
    p_fa, p_miss = det_curve(bona, synth)
    return float(((c1 * p_miss + c2 * p_fa) / min(c1, c2)).min())


def _check_weights(c1: float, c2: float) -> None:
    if c1 <= 0.0 or c2 <= 0.0:
        raise ValueError(
            f"t-DCF weights are {c1:.4f} and {c2:.4f}, both must be above 0: this verification system is too poor,"
            " or accepts no synthetic speech at all"
        )


def a_dcf(target: ArrayLike, nontarget: ArrayLike, spoof: ArrayLike, model: CostModel | None = None) -> float:
    """Least normalised a-DCF of one joint score (Shim et al. 2024): accepted only if same speaker and bona fide."""
    model = model or CostModel()
    arrays = [np.sort(np.asarray(scores, dtype=np.float64)) for scores in (target, nontarget, spoof)]
    if min(scores.size for scores in arrays) == 0 or any(np.isnan(scores).any() for scores in arrays):
        raise ValueError("a-DCF needs target, other-speaker and synthetic scores, none of them NaN")
    thresholds = np.append(np.unique(np.concatenate(arrays)), np.inf)
    below = [np.searchsorted(scores, thresholds, side="left") / scores.size for scores in arrays]
    weights = (
        model.cost_miss * model.p_target,
        model.cost_fa * model.p_nontarget,
        model.cost_fa_spoof * model.p_spoof,
    )
    costs = weights[0] * below[0] + weights[1] * (1.0 - below[1]) + weights[2] * (1.0 - below[2])
    return float(costs.min() / min(weights[0], weights[1] + weights[2]))
