"""Score the audio of a run folder again, with all scorers that are ready or the named ones."""

from __future__ import annotations

import argparse
import json
from collections import Counter

from evaluation.aggregation import PAIRED_PREFIX
from evaluation.audit import run_scoring
from evaluation.cli.progress_bar import terminal_progress
from evaluation.cli.run_options import add_workers, engine_options, split_names
from evaluation.cli.table import measure_rows
from evaluation.frames import read_scores, read_summary
from evaluation.run_folder import RunFolder

NO_VALUE = "no value: "
EXAMPLE = "audiolm-audit score runs/first --scorers word_error speaker_similarity"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="folder that audit or generate wrote")
    parser.add_argument("--scorers", nargs="+", default=[], metavar="NAME", help="only these (see doctor), or all")
    parser.add_argument(
        "--add", action="store_true", help="with --scorers: beside those that the run was scored with, not instead"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    add_workers(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    run_folder = RunFolder(args.run_folder)
    before, named = _scored_with(run_folder), split_names(args.scorers)
    if args.add and not named:
        raise ValueError("--add needs --scorers: name those to add")
    run_scoring(
        args.run_folder,
        scorers=[*before, *(name for name in named if name not in before)]
        if args.add and "all" not in named
        else named,
        device=args.device,
        progress=terminal_progress(),
        engine=engine_options(args),
    )
    counts = run_folder.require()["counts"]["scores"]
    if args.json:
        info = run_folder.require()
        missing = {e["name"]: e["sentence"] for e in info["evaluators"] if e["status"] == "missing"}
        value = {"run_folder": args.run_folder, "scores": counts, "missing": missing, "rows": measure_rows(run_folder)}
        print(json.dumps(value, sort_keys=True))
    else:
        print("scores: " + ", ".join(f"{count} {status}" for status, count in counts.items()))
        for line in without_value(run_folder):
            print(line)
        lost = [name for name in before if name not in _scored_with(run_folder)]
        if lost:
            print(f"no longer in this run's tables: {', '.join(lost)}; their results are kept, --add brings them back")
        print(f"summary: {run_folder.summary}; audiolm-audit table {args.run_folder} prints it")
    return 0


def without_value(run_folder: RunFolder) -> list[str]:
    """A line for each scorer without a single value, with its most frequent reason."""
    scores, summary = read_scores(run_folder.scores), read_summary(run_folder.summary)
    reasons: dict[str, list[str]] = {}
    valued = set(scores.loc[scores["status"] == "ok", "scorer"]) | set(
        summary.loc[summary["estimate"].notna(), "scorer"]
    )
    for name, reason in zip(scores["scorer"], scores["reason"], strict=True):
        reasons.setdefault(name, []).append(reason)
    for name, method in zip(summary["scorer"], summary["method"], strict=True):
        if method.startswith(NO_VALUE):
            reasons.setdefault(name, []).append(method)
    return [
        f"{name}: no value: {Counter(found).most_common(1)[0][0].removeprefix(NO_VALUE)}"
        for name, found in sorted(reasons.items())
        if name not in valued and not name.startswith(PAIRED_PREFIX)
    ]


def _scored_with(run_folder: RunFolder) -> list[str]:
    """Scorers whose rows the run's tables hold."""
    return [e["name"] for e in run_folder.require().get("evaluators", []) if e["status"] != "missing"]
