"""The cards of the two detectors that lean on our own model: per kind of clip what was said, with exact intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detectors.assessment import ScoredClip
from detectors.calibration import Calibration
from detectors.error_rates import eer
from detectors.labelled import BONA_FIDE

__all__ = ["exact_interval", "kind_rows", "own_card"]

OWN = ("own_acoustic", "own_continuation")


def exact_interval(count: int, total: int) -> tuple[float, float]:
    """95 % interval of a share by Clopper and Pearson, clips taken as independent."""
    from scipy.stats import beta

    low = float(beta.ppf(0.025, count, total - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, total - count)) if count < total else 1.0
    return low, high


def kind_rows(scored: Sequence[ScoredClip], calibration: Calibration, threshold_llr: float) -> list[dict[str, Any]]:
    """One row per generator and condition: called synthetic, median ratio, equal error rate against genuine clips.

    Against recordings as they are, and against recordings through our codec.
    """
    cells: dict[tuple[str, str], list[ScoredClip]] = {}
    for item in scored:
        cells.setdefault((item.clip.generator, item.clip.condition), []).append(item)
    llrs = {cell: calibration([item.raw for item in items if not item.reason]) for cell, items in cells.items()}
    rows = []
    for (generator, condition), items in sorted(cells.items()):
        mine = llrs[generator, condition]
        count = int((mine < threshold_llr).sum())
        against = [llrs.get((BONA_FIDE, name), np.zeros(0)) for name in ("raw", "own_codec")]
        synthetic = generator != BONA_FIDE and mine.size > 0
        rows.append(
            {
                "generator": generator,
                "condition": condition,
                "clips": int(mine.size),
                "speakers": len({item.clip.speaker_id for item in items}),
                "abstained": len(items) - int(mine.size),
                "called_synthetic": count,
                "interval": exact_interval(count, int(mine.size)) if mine.size else (0.0, 1.0),
                "median_llr": float(np.median(mine)) if mine.size else None,
                "eer": [eer(one, mine) if synthetic and one.size else None for one in against],
            }
        )
    return rows


def own_card(config: Mapping[str, Any], scored: Sequence[ScoredClip], about: Sequence[str]) -> str:
    """Markdown: what it is, the table by kind on test speakers, training data, what it was never shown."""
    calibration = Calibration.from_dict(config["calibration"])
    rows = kind_rows(scored, calibration, config["threshold_llr"])
    counts = config["training"]["clips"]
    return "\n".join(
        [
            f"# {config['title']}",
            "",
            *about,
            "",
            f"Version {config['version']}. Output: {config['unit']}; {config['polarity']}; between"
            f" {calibration.lowest_llr:.2f} and {calibration.highest_llr:+.2f}. Operating point:"
            f" {config['threshold_llr']:.4f} ({config['threshold_source']}). {config['numbers']} numbers, ridge"
            f" {config['ridge']:g}.",
            "",
            "Rests on these weights, and refuses to judge with others (SHA-256):",
            "",
            *[f"- {name}: `{digest}`" for name, digest in config["model_parts"].items()],
            "",
            "## What it said of clips of test speakers",
            "",
            "First 3 s of clips that were used for nothing else. Intervals: 95 %, Clopper and Pearson, clips taken as"
            " independent. EER against recordings as they are, and against recordings through our codec.",
            "",
            "| clips | condition | called synthetic | share % | median ratio | EER %, raw / through codec | speakers |"
            " abstained |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
            *map(_line, rows),
            "",
            "## Clips (generator/condition/split)",
            "",
            "`train` fitted the weights, `held` (other speakers) chose the ridge and fitted the calibration.",
            "",
            "| | clips | speakers |",
            "| --- | --- | --- |",
            *[f"| {name} | {values['clips']} | {values['speakers']} |" for name, values in counts.items()],
            "",
            "## What it was never shown",
            "",
            *[f"- {item}" for item in config["not_shown"]],
            "",
            "It abstains as every detector does. `reference_scores.json` holds its output on held-out human speech.",
            "",
        ]
    )


def _line(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    total, called = row["clips"], row["called_synthetic"]
    share = f"{100 * called / total:.1f} [{100 * low:.1f}, {100 * high:.1f}]" if total else "-"
    median = "-" if row["median_llr"] is None else f"{row['median_llr']:+.2f}"
    rates = " / ".join("-" if rate is None else f"{100 * rate:.1f}" for rate in row["eer"])
    return (
        f"| {row['generator']} | {row['condition']} | {called} of {total} | {share} | {median} | {rates} |"
        f" {row['speakers']} | {row['abstained']} |"
    )
