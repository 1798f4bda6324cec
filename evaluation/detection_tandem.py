"""Verification scores beside a detector's: files to t-DCF and a-DCF."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from detectors.tandem import CostModel, a_dcf, t_dcf, t_dcf_2019, verification_rates

__all__ = ["joint_costs", "tandem_costs"]

LABELS = ("target", "nontarget", "spoof")
STANDALONE = CostModel(p_target=0.9, p_nontarget=0.05, p_spoof=0.05, cost_miss=1.0, cost_fa=10.0, cost_fa_spoof=20.0)
"""Priors and costs of the stand-alone a-DCF library; not comparable with those of ASVspoof 5."""


def _labelled(path: Path, columns: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Scores by label: the column that holds the labels, and the named or else the last column of numbers."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); give lines with target, nontarget or spoof") from error
    rows = [line.split("\t") if "\t" in line else line.split() for line in lines]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    named = next((header.index(name) for name in columns if name in header), None)
    found: dict[str, list[float]] = {label: [] for label in LABELS}
    for number, row in enumerate(rows[1:] if named is not None else rows, 2 if named is not None else 1):
        label = next((cell.strip().lower() for cell in row if cell.strip().lower() in LABELS), None)
        text = row[named if named is not None else -1] if len(row) > (named or 0) else ""
        try:
            score = float(text)
        except ValueError:
            score = float("nan")
        if label is None or np.isnan(score):
            raise ValueError(f"{path}: line {number} lacks target, nontarget or spoof, or a score that is a number")
        found[label].append(score)
    lacking = [label for label, scores in found.items() if not scores]
    if lacking:
        raise ValueError(f"{path}: holds no {' and no '.join(lacking)} trial; all three kinds are needed")
    return {label: np.asarray(scores) for label, scores in found.items()}


def tandem_costs(path: Path, bona: np.ndarray, synth: np.ndarray) -> dict[str, float]:
    """Least t-DCF of both forms, and the verification system's rates at its equal-error threshold."""
    rates = verification_rates(**_labelled(path, ("asv-score", "asv_score")))
    return {
        "min_t_dcf_2020": t_dcf(bona, synth, rates),
        "min_t_dcf_2019": t_dcf_2019(bona, synth, rates),
        "asv_p_miss": rates.p_miss,
        "asv_p_fa_non": rates.p_fa_non,
        "asv_p_fa_spoof": rates.p_fa_spoof,
    }


def joint_costs(path: Path) -> dict[str, float]:
    """Least a-DCF of joint scores, with ASVspoof 5's priors and with those of the stand-alone library."""
    scores = _labelled(path, ("sasv-score", "sasv_score"))
    target, nontarget, spoof = (scores[label] for label in LABELS)
    return {
        "min_a_dcf": a_dcf(target, nontarget, spoof),
        "min_a_dcf_standalone": a_dcf(target, nontarget, spoof, STANDALONE),
    }
