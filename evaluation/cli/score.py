"""Score the audio of a run folder again, with all scorers that are ready or the named ones."""

from __future__ import annotations

import argparse
import json

from evaluation.audit import run_scoring
from evaluation.cli.progress_bar import terminal_progress
from evaluation.cli.run_options import add_workers, engine_options, split_names
from evaluation.cli.table import measure_rows
from evaluation.run_folder import RunFolder

EXAMPLE = "audiolm-audit score runs/first --scorers word_error speaker_similarity"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="folder that audit or generate wrote")
    parser.add_argument("--scorers", nargs="+", default=[], metavar="NAME", help="only these (see doctor), or all")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add_workers(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    run_scoring(
        args.run_folder,
        scorers=split_names(args.scorers),
        device=args.device,
        progress=terminal_progress(),
        engine=engine_options(args),
    )
    run_folder = RunFolder(args.run_folder)
    counts = run_folder.require()["counts"]["scores"]
    if args.json:
        info = run_folder.require()
        missing = {e["name"]: e["sentence"] for e in info["evaluators"] if e["status"] == "missing"}
        value = {"run_folder": args.run_folder, "scores": counts, "missing": missing, "rows": measure_rows(run_folder)}
        print(json.dumps(value, sort_keys=True))
    else:
        print("scores: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
        print(f"summary: {run_folder.summary}; audiolm-audit table {args.run_folder} prints it")
    return 0
