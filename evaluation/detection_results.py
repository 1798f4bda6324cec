"""What ``detect-eval`` says of a set of scored trials: error rates, costs, calibration, by generator and by codec."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from detectors import error_rates
from evaluation.bootstrap import Resampler
from evaluation.detection_trials import Pairing, Trial

__all__ = ["assess", "threshold_transfer"]

MOST_NAMES = 50
TIES_WORTH_A_WARNING = 0.01
Statistic = Callable[[np.ndarray, np.ndarray], float]
OfDraws = Callable[[np.ndarray], float]
POOLED: dict[str, Statistic] = {
    "eer_interpolated": error_rates.eer,
    "eer_rocch": lambda bona, synth: error_rates.eer(bona, synth, variant="rocch"),
    "eer_asvspoof": error_rates.eer_asvspoof,
    "min_dcf": error_rates.min_dcf,
    "act_dcf": error_rates.act_dcf,
    "cllr_bits": error_rates.cllr,
    "min_cllr_bits": error_rates.min_cllr,
}
WITH_INTERVALS = ("eer_interpolated", "min_dcf", "act_dcf", "cllr_bits")


def assess(paired: Pairing, threshold: float, *, replicates: int, seed: int = 0) -> dict[str, Any]:
    """Everything as plain values for JSON. Measures that one class alone cannot give are None.

    ``threshold``: in the unit of the scores; scores at or above it count as bona fide. Intervals: 95 %, speakers
    resampled within the set (trials, where the protocol names no speaker: said in ``interval_over``).
    """
    scores = np.asarray(paired.scores, dtype=np.float64)
    is_bona = np.asarray([trial.is_bona_fide for trial in paired.trials], dtype=bool)
    bona, synth = scores[is_bona], scores[~is_bona]
    result: dict[str, Any] = {
        "n_bona_fide": int(bona.size),
        "n_synthetic": int(synth.size),
        "threshold": threshold,
        "p_miss": float(np.mean(bona < threshold)) if bona.size else None,
        "p_false_alarm": float(np.mean(synth >= threshold)) if synth.size else None,
        "warnings": [],
        "trials": _counts(paired),
    }
    if not bona.size or not synth.size:
        lacking = "synthetic" if bona.size else "bona fide"
        result["warnings"].append(f"no {lacking} trial has a score: only the rate of the other class can be given")
        return result | {"pooled": None, "by_attack": [], "by_codec": []}
    result["p_error_half_total"] = (result["p_miss"] + result["p_false_alarm"]) / 2
    result["pooled"] = {name: statistic(bona, synth) for name, statistic in POOLED.items()}
    result["pooled"]["auc"] = _auc(bona, synth)
    result["tied_share"] = error_rates.tied_share(bona, synth)
    result["interval_over"], result["intervals"] = _intervals(paired.trials, scores, is_bona, replicates, seed)
    by_attack = _by_attack(paired.trials, scores, is_bona, threshold)
    result["intervals"] |= _attack_intervals(paired.trials, scores, is_bona, by_attack, replicates, seed)
    result |= {"by_attack": by_attack, "by_codec": _by_codec(paired.trials, scores, is_bona, threshold)}
    rates = [row["eer_interpolated"] for row in by_attack]
    pooled = result["pooled"]["eer_interpolated"]
    result["macro_eer"], result["worst_eer"] = float(np.mean(rates)), float(np.max(rates))
    result["pooled_minus_macro_eer"] = pooled - result["macro_eer"]
    result["warnings"] += _warnings(result)
    return result


def _auc(bona: np.ndarray, synth: np.ndarray) -> float:
    p_false_alarm, p_miss = error_rates.det_curve(bona, synth)
    falls = p_false_alarm[:-1] - p_false_alarm[1:]
    return float(np.sum(falls * (1.0 - (p_miss[1:] + p_miss[:-1]) / 2)))


def _counts(paired: Pairing) -> dict[str, Any]:
    kinds = ("missing", "not_a_number", "doubled", "conflicting", "extra")
    return {kind: {"count": len(names := getattr(paired, kind)), "first": names[:MOST_NAMES]} for kind in kinds}


def _warnings(result: dict[str, Any]) -> list[str]:
    found = []
    if result["pooled"]["auc"] < 0.5:
        found.append(
            f"AUC is {result['pooled']['auc']:.3f}: these scores rank synthetic above bona fide. Nothing was flipped;"
            " if the file's scores are higher for synthetic speech, say so with --higher-means synthetic"
        )
    if result["tied_share"] > TIES_WORTH_A_WARNING:
        found.append(
            f"{result['tied_share']:.1%} of the scores are tied: eer_asvspoof counts ties against the detector and is"
            " not to be trusted here"
        )
    if result["pooled"]["act_dcf"] > 1.0:
        found.append("actDCF is above 1: at its Bayes threshold the detector is worse than a constant decision")
    return found


class _Clusters:
    """What is drawn again for an interval: speakers where all trials name one, else trials."""

    def __init__(self, trials: Sequence[Trial], is_bona: np.ndarray, replicates: int, seed: int) -> None:
        named = all(trial.speaker_id for trial in trials)
        names = [trial.speaker_id if named else trial.name for trial in trials]
        self.over = "speakers" if named else "trials"
        self.names = sorted(set(names))
        position = {name: index for index, name in enumerate(self.names)}
        self.index = np.asarray([position[name] for name in names])
        self.fewest = min(len(set(self.index[is_bona])), len(set(self.index[~is_bona])))
        self._resampler = Resampler(seed=seed, replicates=replicates)

    def interval(self, of_draws: OfDraws) -> list[float | None]:
        """95 % bounds of a statistic of how often each trial is drawn; None where there are none."""
        found = self._resampler.statistic(
            self.names, self.fewest, lambda weights: of_draws(weights[self.index].astype(np.int64)), (0.0, None)
        )
        return [value if math.isfinite(value) else None for value in (found.low, found.high)]


def _intervals(
    trials: Sequence[Trial], scores: np.ndarray, is_bona: np.ndarray, replicates: int, seed: int
) -> tuple[str, dict[str, list[float | None]]]:
    clusters = _Clusters(trials, is_bona, max(replicates, 1), seed)
    found = {}
    for measure in WITH_INTERVALS if replicates else ():

        def of_draws(drawn: np.ndarray, statistic: Statistic = POOLED[measure]) -> float:
            bona, synth = (np.repeat(scores[kind], drawn[kind]) for kind in (is_bona, ~is_bona))
            return statistic(bona, synth) if bona.size and synth.size else math.nan

        found[measure] = clusters.interval(of_draws)
    return clusters.over, found


def _attack_intervals(
    trials: Sequence[Trial],
    scores: np.ndarray,
    is_bona: np.ndarray,
    rows: list[dict[str, Any]],
    replicates: int,
    seed: int,
) -> dict[str, list[float | None]]:
    """Bounds of each generator's EER into its row; those of the mean over generators as ``macro_eer``."""
    if not replicates:
        return {}
    clusters = _Clusters(trials, is_bona, replicates, seed)
    kinds = [~is_bona & np.asarray([trial.attack == row["name"] for trial in trials]) for row in rows]

    def rate(drawn: np.ndarray, kind: np.ndarray) -> float:
        bona, synth = np.repeat(scores[is_bona], drawn[is_bona]), np.repeat(scores[kind], drawn[kind])
        return error_rates.eer(bona, synth) if bona.size and synth.size else math.nan

    for row, kind in zip(rows, kinds, strict=True):
        row["eer_interval"] = clusters.interval(lambda drawn, kind=kind: rate(drawn, kind))
    return {"macro_eer": clusters.interval(lambda drawn: float(np.mean([rate(drawn, kind) for kind in kinds])))}


def _row(label: str, bona: np.ndarray, synth: np.ndarray, threshold: float) -> dict[str, Any]:
    return {
        "name": label,
        "n_bona_fide": int(bona.size),
        "n_synthetic": int(synth.size),
        "eer_interpolated": error_rates.eer(bona, synth),
        "min_dcf": error_rates.min_dcf(bona, synth),
        "act_dcf": error_rates.act_dcf(bona, synth),
        "cllr_bits": error_rates.cllr(bona, synth),
        "p_miss": float(np.mean(bona < threshold)),
        "p_false_alarm": float(np.mean(synth >= threshold)),
    }


def _by_attack(
    trials: Sequence[Trial], scores: np.ndarray, is_bona: np.ndarray, threshold: float
) -> list[dict[str, Any]]:
    """Each generator against all bona fide trials."""
    attacks = np.asarray([trial.attack for trial in trials])
    bona = scores[is_bona]
    return [
        _row(str(name), bona, scores[~is_bona & (attacks == name)], threshold)
        for name in sorted(set(attacks[~is_bona]))
    ]


def _by_codec(
    trials: Sequence[Trial], scores: np.ndarray, is_bona: np.ndarray, threshold: float
) -> list[dict[str, Any]]:
    """Both classes through the same codec; codecs with one class only are left out."""
    codecs = np.asarray([trial.codec for trial in trials])
    rows = []
    for name in sorted(set(codecs)):
        bona, synth = scores[is_bona & (codecs == name)], scores[~is_bona & (codecs == name)]
        if bona.size and synth.size:
            rows.append(_row(str(name) or "none", bona, synth, threshold))
    return rows if len(rows) > 1 else []


def threshold_transfer(dev: Pairing, test: Pairing) -> dict[str, float]:
    """The equal-error threshold of one set carried to another: what users of a fixed threshold meet.

    Raises:
        ValueError: either set lacks a class.
    """
    arrays = []
    for paired in (dev, test):
        scores = np.asarray(paired.scores, dtype=np.float64)
        is_bona = np.asarray([trial.is_bona_fide for trial in paired.trials], dtype=bool)
        arrays.append((scores[is_bona], scores[~is_bona]))
    threshold = error_rates.eer_threshold(*arrays[0])
    bona, synth = arrays[1]
    p_false_alarm, p_miss = error_rates.error_rates_at(bona, synth, threshold)
    return {
        "threshold": threshold,
        "p_miss": p_miss,
        "p_false_alarm": p_false_alarm,
        "p_error_half_total": (p_miss + p_false_alarm) / 2,
        "eer_interpolated": error_rates.eer(bona, synth),
    }
