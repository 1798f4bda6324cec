"""Is a labelled set of recordings fair? Rate, length, level, band, silence, noise floor, each tried as a detector."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from detectors.shortcuts import UNFAIR_AUC
from evaluation.robustness_clips import files_of_protocol
from evaluation.shortcut_audit import audit_files

EXAMPLE = "audiolm-audit detect-shortcuts --protocol trials.txt --audio folder"
WIDTH, LEFT, ROW, TOP = 620, 150, 20, 44


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--protocol", type=Path, required=True, help="trials with keys, as detect-eval reads them")
    parser.add_argument("--audio", type=Path, required=True, help="the folder below which its files lie")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="also write the table as an SVG figure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: argparse.Namespace) -> int:
    files = [
        (path, trial.is_bona_fide, trial.speaker_id) for path, trial in files_of_protocol(args.protocol, args.audio)
    ]
    rows = audit_files(files, seed=args.seed)
    unfair = [row["probe"] for row in rows if row["unfair"]]
    if args.figure is not None:
        args.figure.write_text(shortcut_figure(rows), encoding="utf-8")
    if args.json:
        print(json.dumps({"limit": UNFAIR_AUC, "fair": not unfair, "probes": rows}, indent=1))
        return 0
    print(f"{'probe':<18} {'AUC':>6}  95 % interval   higher values")
    for row in rows:
        interval = "" if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"
        print(f"{row['probe']:<18} {row['auc']:6.3f}  {interval:<14}  {row['higher_means']}")
    verdict = f"UNFAIR: {', '.join(unfair)} alone tell the classes apart" if unfair else "fair by these probes"
    counts = f"{rows[0]['n_bona_fide']} bona fide, {rows[0]['n_synthetic']} synthetic"
    print(f"{counts}; above {UNFAIR_AUC} is unfair: {verdict}")
    return 0


def shortcut_figure(rows: Sequence[Mapping[str, Any]]) -> str:
    """AUC of each probe with its interval, and the line above which a set is unfair."""
    span, height = WIDTH - LEFT - 30, TOP + ROW * len(rows) + 10

    def x(auc: float) -> float:
        return LEFT + (max(0.4, auc) - 0.4) / 0.6 * span

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"'
        ' font-size="12" role="img" aria-label="AUC of shortcut probes"><rect width="100%" height="100%" fill="#fff"/>'
    ]
    for tick in (0.5, UNFAIR_AUC, 0.8, 1.0):
        colour = "#a11212" if tick == UNFAIR_AUC else "#ddd"
        parts.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="28" y2="{height}" stroke="{colour}"/>')
        parts.append(f'<text x="{x(tick):.1f}" y="20" text-anchor="middle">{tick:g}</text>')
    for place, row in enumerate(rows):
        y = TOP + ROW * place
        colour = "#a11212" if row["unfair"] else "#123f7a"
        low, high = (row["auc"] if row[end] is None else row[end] for end in ("low", "high"))
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{row["probe"]}</text>')
        parts.append(f'<line x1="{x(low):.1f}" x2="{x(high):.1f}" y1="{y}" y2="{y}" stroke="{colour}"/>')
        parts.append(f'<circle cx="{x(row["auc"]):.1f}" cy="{y}" r="4" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>\n"])
