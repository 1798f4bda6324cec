"""Error rates of any detector from a protocol and its scores: ASVspoof 2019, 2021, 5, Codecfake, or our own files."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from detectors.error_rates import bayes_threshold
from evaluation.detection_figures import draw_figures
from evaluation.detection_groups import rates_by_group
from evaluation.detection_results import assess, threshold_transfer
from evaluation.detection_tandem import joint_costs, tandem_costs
from evaluation.detection_trials import Pairing, pair, read_protocol, read_scores

EXAMPLE = "audiolm-audit detect-eval --protocol trials.txt --scores scores.tsv --json"
NAMES_SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--protocol", type=Path, required=True, help="trials with keys; or generations.parquet")
    parser.add_argument(
        "--scores", type=Path, required=True, help="FILE SCORE, a table with cm-score, or detect --json"
    )
    parser.add_argument(
        "--higher-means",
        choices=("bona-fide", "synthetic"),
        default="bona-fide",
        help="what higher scores of this file mean; nothing is ever flipped by itself (default: %(default)s)",
    )
    parser.add_argument("--threshold", type=float, default=bayes_threshold(), help="default: %(default).4f nats")
    parser.add_argument("--dev-protocol", type=Path, help="with --dev-scores: carry that set's threshold over")
    parser.add_argument("--dev-scores", type=Path, help="scores of the set that gives the threshold")
    parser.add_argument("--asv-scores", type=Path, help="verification scores (target, nontarget, spoof) for t-DCF")
    parser.add_argument("--sasv-scores", type=Path, help="joint scores with asv-label (or such a column) for a-DCF")
    parser.add_argument("--groups", type=Path, metavar="MANIFEST", help="with --group-by: who speaks in each trial")
    parser.add_argument("--group-by", metavar="AXES", help="also rates by these groups, e.g. gender,accent")
    parser.add_argument(
        "--replicates", type=int, default=300, help="bootstrap replicates, 0: none (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="write DET, Tippett and reliability figures (SVG)")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    if not math.isfinite(args.threshold) or args.replicates < 0:
        raise ValueError("--threshold is a finite number, --replicates at least 0")
    if (args.dev_protocol is None) != (args.dev_scores is None):
        raise ValueError("--dev-protocol and --dev-scores go together; give both")
    if (args.groups is None) != (args.group_by is None):
        raise ValueError("--groups and --group-by go together; give both")
    sign = 1.0 if args.higher_means == "bona-fide" else -1.0
    paired = _paired(args.protocol, args.scores, sign)
    result: dict[str, Any] = {
        "protocol": str(args.protocol),
        "scores": str(args.scores),
        "higher_means": args.higher_means,
        "unit": "scores as given; costs and Cllr take them as natural-log likelihood ratios",
        **assess(paired, args.threshold, replicates=args.replicates, seed=args.seed),
    }
    is_bona = np.asarray([trial.is_bona_fide for trial in paired.trials], dtype=bool)
    scores = np.asarray(paired.scores, dtype=np.float64)
    both = result["pooled"] is not None
    if args.dev_protocol is not None and both:
        dev = _paired(args.dev_protocol, args.dev_scores, sign)
        result["threshold_transfer"] = threshold_transfer(dev, paired)
    if args.asv_scores is not None and both:
        result["tandem"] = tandem_costs(args.asv_scores, scores[is_bona], scores[~is_bona])
    if args.sasv_scores is not None:
        result["a_dcf"] = joint_costs(args.sasv_scores)
    if args.groups is not None:
        axes = [axis.strip() for axis in args.group_by.split(",") if axis.strip()]
        result["by_group"] = rates_by_group(
            paired, args.groups, axes, args.threshold, replicates=args.replicates, seed=args.seed
        )
    if args.plots is not None and both:
        result["figures"] = [str(path) for path in draw_figures(args.plots, scores[is_bona], scores[~is_bona])]
    print(json.dumps(result, indent=1, ensure_ascii=False) if args.json else _readable(result))
    return 0


def _paired(protocol: Path, scores: Path, sign: float) -> Pairing:
    paired = pair(read_protocol(protocol), [(name, sign * score) for name, score in read_scores(scores)])
    if not paired.trials:
        raise ValueError(f"{scores}: scores none of the trials of {protocol}; check that the file names agree")
    return paired


def _readable(result: dict[str, Any]) -> str:
    lines = [f"{result['n_bona_fide']} bona fide and {result['n_synthetic']} synthetic trials with a score"]
    for kind, found in result["trials"].items():
        if found["count"]:
            names = ", ".join(ascii(name) for name in found["first"][:NAMES_SHOWN])
            lines.append(
                f"  {kind.replace('_', ' ')}: {found['count']} ({names}{' ...' if found['count'] > 3 else ''})"
            )
    rates = [(name, result[name]) for name in ("p_miss", "p_false_alarm")]
    said = ", ".join(f"{name} {value:.4f}" for name, value in rates if value is not None)
    lines.append(f"at threshold {result['threshold']:.4f}: {said}")
    if result["pooled"] is not None:
        lines += _pooled(result)
        lines += _table("generator", result["by_attack"]) + _table("codec", result["by_codec"])
    lines += _groups(result.get("by_group", []))
    for name in ("threshold_transfer", "tandem", "a_dcf"):
        if name in result:
            values = result[name]
            said = ", ".join(f"{key} {value:.4f}" for key, value in values.items())
            lines.append(f"{name.replace('_', ' ')}: {said}")
    return "\n".join([*lines, *(f"warning: {text}" for text in result["warnings"])])


def _pooled(result: dict[str, Any]) -> list[str]:
    lines = []
    for name, value in result["pooled"].items():
        lines.append(f"{name:<18} {value:8.4f} {_bounds(result['intervals'].get(name))}")
    over = result["interval_over"]
    macro = _bounds(result["intervals"].get("macro_eer"))
    lines.append(
        f"(95 % intervals over {over}); macro EER {result['macro_eer']:.4f}{macro}, worst {result['worst_eer']:.4f},"
        f" pooled minus macro {result['pooled_minus_macro_eer']:+.4f}"
    )
    return lines


def _bounds(pair: Sequence[float | None] | None) -> str:
    low, high = pair or (None, None)
    return f" [{low:.4f}, {high:.4f}]" if low is not None and high is not None else ""


def _groups(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        said = [
            f"{title} {row[key]:.4f}{_bounds(row[f'{key}_interval'])}"
            for title, key in (
                ("bona fide called synthetic", "p_miss"),
                ("synthetic called bona fide", "p_false_alarm"),
            )
            if row[key] is not None
        ]
        label = ascii(row["group"])[1:-1] or "not in the manifest"
        lines.append(f"{row['axis']} {label} ({row['trials']} trials, {row['speakers']} speakers): {', '.join(said)}")
    return lines


def _table(title: str, rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [f"{title:<24} {'EER':>7} {'minDCF':>7} {'actDCF':>7} {'Cllr':>7} {'p_miss':>7} {'p_fa':>7} {'trials':>9}"]
    for row in rows:
        keys = ("eer_interpolated", "min_dcf", "act_dcf", "cllr_bits", "p_miss", "p_false_alarm")
        numbers = " ".join(f"{row[key]:7.4f}" for key in keys)
        lines.append(f"{ascii(row['name'])[1:-1]:<24} {numbers} {row['n_synthetic']:>9}")
    return lines
