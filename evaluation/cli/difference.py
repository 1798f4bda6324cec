"""Is the new system better than the old one? Paired differences of two runs on the same prompts, p-values adjusted."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from evaluation.cli.run_options import split_names
from evaluation.multiplicity import METHODS
from evaluation.system_difference import compare_systems
from evaluation.whole_files import whole_file

EXAMPLE = "audiolm-audit difference runs/first runs/second --measures speaker_similarity/cosine word_error/wer"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD", help="run folder of one system")
    parser.add_argument("new", metavar="NEW", help="run folder of the other, on the same prompts")
    parser.add_argument(
        "--measures", nargs="+", default=[], metavar="NAME",
        help="only these scorers or scorer/measure, chosen beforehand; p-values are adjusted over them (default: all)",
    )  # fmt: skip
    parser.add_argument("--roles", nargs="+", default=["continuation", "acoustic", "codec", "recorded"], metavar="ROLE")
    parser.add_argument(
        "--adjust", choices=METHODS, default="holm",
        help="holm: hardly any false alarm; bh: few among the alarms (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="compare tables of other evaluators, marked as unsound")
    parser.add_argument("--out", metavar="FILE", help="write the table as Parquet or CSV, by its ending")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def run(args: argparse.Namespace) -> int:
    frame = compare_systems(
        args.old, args.new, roles=split_names(args.roles), measures=split_names(args.measures), method=args.adjust,
        force=args.force,
    )  # fmt: skip
    rows = frame.to_dict("records")
    if args.out:
        with whole_file(Path(args.out)) as temporary:
            if args.out.endswith(".csv"):
                frame.map(_no_formula).to_csv(temporary, index=False)
            else:
                frame.to_parquet(temporary, index=False)
    if args.json:
        print(json.dumps([{k: None if v != v else v for k, v in row.items()} for row in rows]))
        return 0
    if not frame["sound"].all():
        print("UNSOUND: the two runs were scored by different evaluators; differences may be theirs")
    unshared = max(row["n_unshared"] for row in rows)
    if unshared:
        print(f"{unshared} prompts are in one run alone and count nowhere")
    width = max(len(f"{row['scorer']}/{row['measure']}") for row in rows)
    for row in rows:
        interval = f" [{row['low']:.4g}, {row['high']:.4g}]" if math.isfinite(row["low"]) else " (no interval)"
        p = f"p {row['p_adjusted']:.3g}" if math.isfinite(row["p_adjusted"]) else "no p"
        missing = f", {row['n_missing']} prompts without a value" if row["n_missing"] else ""
        print(
            f"{row['role']:<12} {row['scorer'] + '/' + row['measure']:<{width}} {row['old']:.4g} -> {row['new']:.4g}"
            f"  {row['difference']:+.4g}{interval}  {p}  smallest detectable {row['minimum_detectable']:.3g}"
            f"  {row['n_speakers']} speakers{missing}: {row['verdict']}"
        )
    return 0


def _no_formula(cell: object) -> object:
    """A text that a spreadsheet would run, behind an apostrophe, so that it is shown."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
