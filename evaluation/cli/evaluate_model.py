"""Measure a checkpoint on held-out speakers: the table of its model card, with intervals, targets and what is met.

Makes or continues a run folder with every role (recording, codec at 4, 8 and all levels, acoustic generation,
continuation, unconditional, shuffled), scores it, and prints one row per figure.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from evaluation.cli.progress_bar import terminal_progress
from evaluation.cli.run_options import add_workers, engine_options
from evaluation.model_evaluation import ModelEvaluation, evaluate_model
from evaluation.model_table import TableRow

EXAMPLE = "audiolm-audit evaluate-model nano --data ../shared/corpus/manifest.csv --split test --limit 4 --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="nano, a folder or a hub id")
    parser.add_argument("--data", required=True, metavar="PATH", help="manifest or corpus tree with transcripts")
    parser.add_argument("--split", default="test", help="the utterances to measure on (default: %(default)s)")
    parser.add_argument(
        "--second-split",
        default="dev",
        help="more recordings for the rise of word errors, where there are any; '' for none (default: %(default)s)",
    )
    parser.add_argument("--limit", type=int, metavar="N", help="keep N utterances per split, speakers taking turns")
    parser.add_argument("--out", metavar="FOLDER", help="run folder, new or to be continued (default: below runs/)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of generated clips (default: %(default)s)")
    parser.add_argument(
        "--max-seconds", type=float, default=30.0, help="how much of a recording is used (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--no-abx", action="store_true", help="leave out the comparison of semantic tokens (longest)")
    add_workers(parser)
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def run(args: argparse.Namespace) -> int:
    what = ModelEvaluation(
        checkpoint=args.checkpoint,
        data=str(Path(args.data).resolve()),
        split=args.split,
        second_split=args.second_split,
        limit=args.limit,
        device=args.device,
        seed=args.seed,
        seconds=args.seconds,
        max_seconds=args.max_seconds,
        abx=not args.no_abx,
    )
    out = args.out or _default_folder(what)
    rows = evaluate_model(
        what, out, command=f"audiolm-audit evaluate-model {args.checkpoint}", progress=terminal_progress(),
        engine=engine_options(args),
    )  # fmt: skip
    if args.json:
        print(json.dumps([row.as_dict() for row in rows]))
    else:
        _print(rows)
        print(f"run folder: {out}")
    return 0


def _default_folder(what: ModelEvaluation) -> str:
    name = Path(what.checkpoint).name.replace("@", "-")
    return "-".join(["runs/evaluate", name, what.split, *([str(what.limit)] if what.limit else [])])


def _print(rows: Sequence[TableRow]) -> None:
    width = max(len(row.title) for row in rows)
    for row in rows:
        met = {None: "", True: "met", False: "not met"}[row.met]
        interval = f" [{row.low:.3f}, {row.high:.3f}]" if row.low is not None and row.high is not None else ""
        value = "-" if row.value is None else f"{row.value:.3f}{interval} {row.unit}"
        print(f"{row.title:<{width}}  {value}  {row.target or ''} {met}".rstrip())
        if row.note:
            print(f"{'':<{width}}  ({row.note})")
