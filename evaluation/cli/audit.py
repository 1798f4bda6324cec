"""Audit a model on prompts, or the files of any outside system, and write a report."""

from __future__ import annotations

import argparse
import json

from evaluation.at_size import StreamOptions, run_streamed
from evaluation.audit import run_audit
from evaluation.cli.progress_bar import terminal_progress
from evaluation.cli.run_options import add_run_options, add_workers, command_line, config_of, engine_options
from evaluation.run_folder import RunFolder

EXAMPLE = "audiolm-audit audit --limit 4 --out runs/first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser)
    parser.add_argument(
        "--system",
        metavar="FOLDER",
        help="judge an outside system's files: with --prompts as its continuations of these, <utterance id>.wav, beside"
        " the recordings and another speaker's continuation; without --prompts as they are",
    )
    parser.add_argument(
        "--joined",
        action="store_true",
        help="with --prompts and --system: each file starts with its prompt; cut it off",
    )
    parser.add_argument(
        "--scorers", nargs="+", metavar="NAME", help="only these (see doctor); default: all that are ready"
    )
    add_workers(parser)
    parser.add_argument(
        "--stream",
        action="store_true",
        help="with --system, for any number of recordings: rows, clips and tables flow in shards and nothing is copied;"
        " manifest, folder or tars (shards/*.tar), here or at an fsspec address; part files, no report and no gate",
    )
    parser.add_argument(
        "--shard-rows", type=int, default=256, metavar="N", help="with --stream: rows of a shard (default: %(default)s)"
    )
    parser.add_argument("--policy", metavar="FILE", help="TOML file with your own thresholds, each with its source")
    parser.add_argument("--plan", metavar="FILE", help="plan.json of audiolm-audit plan; deviations are reported")
    parser.add_argument(
        "--gate",
        default="major",
        choices=("info", "minor", "major", "blocking", "never"),
        help="exit with 1 when a finding is at least this grave (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    if args.stream:
        return _stream(args)
    result = run_audit(
        config_of(args),
        args.out,
        resume=args.resume,
        gate=args.gate,
        command=command_line("audit", args),
        progress=terminal_progress(),
        engine=engine_options(args),
        policy=args.policy,
        plan=args.plan,
    )
    if args.json:
        value = {
            "run_folder": str(result.run_folder),
            "report": str(result.report_path),
            "findings": str(result.findings_path),
            "worst_severity": result.worst_severity,
            "gate": args.gate,
            "gate_hit": result.gate_hit,
        }
        print(json.dumps(value, sort_keys=True))
    else:
        reached = "reached" if result.gate_hit else "not reached"
        print(f"worst finding: {result.worst_severity} (gate {args.gate}: {reached})")
        print(f"report: {result.report_path}")
    return result.exit_code


def _stream(args: argparse.Namespace) -> int:
    if not args.system or args.prompts:
        raise ValueError("--stream judges recordings as they are; name them with --system, not --prompts")
    if args.policy or args.plan:
        raise ValueError("--policy and --plan shape the report, which --stream does not make; leave them out")
    summary = run_streamed(
        config_of(args),
        args.out,
        StreamOptions(shard_rows=args.shard_rows, engine=engine_options(args)),
        resume=args.resume,
        command=command_line("audit", args),
        progress=terminal_progress(),
    )
    if args.json:
        value = {"run_folder": args.out, "recordings": summary.items, "scores": summary.scores}
        print(json.dumps(value, sort_keys=True))
    else:
        print("scores: " + ", ".join(f"{count} {status}" for status, count in summary.scores.items()))
        print(f"summary: {RunFolder(args.out).summary}")
        print(f"report, where {args.out} fits into memory: audiolm-audit report {args.out}")
    return 0
