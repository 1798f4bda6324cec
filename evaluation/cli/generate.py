"""Make audio from prompts in every role, without scoring it."""

from __future__ import annotations

import argparse
import json

from evaluation.audit import run_generation
from evaluation.cli.progress_bar import terminal_progress
from evaluation.cli.run_options import add_run_options, add_workers, command_line, config_of
from evaluation.provenance import count_by_status

EXAMPLE = "audiolm-audit generate --limit 3 --seconds 4 --seed 7 --out runs/audio"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser)
    add_workers(parser)


def run(args: argparse.Namespace) -> int:
    records = run_generation(
        config_of(args),
        args.out,
        resume=args.resume,
        command=command_line("generate", args),
        progress=terminal_progress(),
        workers=args.workers,
    )
    counts = count_by_status(records)
    if args.json:
        print(json.dumps({"run_folder": args.out, "counts": counts}, sort_keys=True))
        return 0
    for role, statuses in counts.items():
        print(f"{role}: " + ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())))
    print(f"audio: {args.out}/audio")
    return 0
