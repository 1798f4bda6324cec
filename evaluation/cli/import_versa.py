"""Turn the JSON lines of VERSA into a run folder with intervals, ready for report, slices and difference."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from evaluation.versa import import_versa

EXAMPLE = "audiolm-audit import-versa result.jsonl --manifest prompts.csv --out runs/versa"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lines", metavar="FILE", type=Path, help="JSON lines that VERSA wrote, one clip a line")
    parser.add_argument("--manifest", type=Path, help="speakers, groups and texts of the same keys; none: no intervals")
    parser.add_argument(
        "--config", type=Path, metavar="FILE",
        help="what told VERSA what to measure (its YAML); imports with one configuration can be compared by difference",
    )  # fmt: skip
    parser.add_argument("--system", default="", help="name of the system (default: the file's)")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="the run folder; must be empty or new")
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    frame = import_versa(args.lines, args.out, manifest=args.manifest, system=args.system, config=args.config)
    rows = [row for row in frame.to_dict("records") if row["group_by"] == "all"]
    if args.json:
        print(json.dumps([{k: None if v != v else v for k, v in row.items()} for row in rows]))
        return 0
    for row in rows:
        interval = (
            f" [{row['ci_low']:.4g}, {row['ci_high']:.4g}]" if row["ci_low"] == row["ci_low"] else f" ({row['method']})"
        )
        lost = f", {row['n_failed']} without a value" if row["n_failed"] else ""
        print(f"{row['measure']:<36} {row['estimate']:.4g}{interval}  {row['n_items']} clips{lost}")
    print(f"report: audiolm-audit report {args.out}")
    return 0
