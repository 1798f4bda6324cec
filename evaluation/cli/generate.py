"""Make audio without scoring it: prompts in every role into a run folder, or one mode (--mode) into plain files."""

from __future__ import annotations

import argparse
import json

from evaluation.audit import run_generation
from evaluation.cli.generate_files import FILE_OPTIONS, add_file_options, make_files
from evaluation.cli.progress_bar import terminal_progress
from evaluation.cli.run_options import add_run_options, add_workers, command_line, config_of, engine_options
from evaluation.provenance import count_by_status

EXAMPLE = """audiolm-audit generate --limit 3 --seconds 4 --seed 7 --out runs/audio
  audiolm-audit generate --mode continuation --limit 2 --seconds 7 --join --out runs/continued
  audiolm-audit generate --mode acoustic --limit 2 --out runs/said-again
  audiolm-audit generate --mode unconditional --count 2 --seconds 10 --until-end --out runs/from-nothing"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser)
    add_workers(parser)
    add_file_options(parser)


def run(args: argparse.Namespace) -> int:
    if args.mode is not None:
        return _to_files(args)
    given = next((name for name in FILE_OPTIONS if getattr(args, name)), None)
    if given is not None:
        raise ValueError(f"--{given.replace('_', '-')} goes with --mode; name one, or leave it out")
    records = run_generation(
        config_of(args),
        args.out,
        resume=args.resume,
        command=command_line("generate", args),
        progress=terminal_progress(),
        engine=engine_options(args),
    )
    counts = count_by_status(records)
    if args.json:
        print(json.dumps({"run_folder": args.out, "counts": counts}, sort_keys=True))
        return 0
    for role, statuses in counts.items():
        print(f"{role}: " + ", ".join(f"{count} {status}" for status, count in sorted(statuses.items())))
    print(f"audio: {args.out}/audio")
    return 0


def _to_files(args: argparse.Namespace) -> int:
    result = make_files(args)
    if args.json:
        print(json.dumps(result, sort_keys=True))
        return 0
    seconds = sum(entry["duration_s"] for entry in result["files"])
    print(f"{args.mode}: {len(result['files'])} files, {seconds:.1f} s of audio in {result['wall_s']:.1f} s")
    waits = [entry["first_sound_s"] for entry in result["files"] if "first_sound_s" in entry]
    if waits:
        print(f"first sound after {min(waits):.2f} to {max(waits):.2f} s")
    print(f"audio: {args.out}")
    return 0
