"""Judge audio files: log-likelihood ratio in nats (higher = more likely bona fide), verdict, or no opinion and why."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import detectors
from audiolm.audio import AUDIO_SUFFIXES
from evaluation.cli.progress_bar import terminal_progress
from evaluation.discovery import pick
from evaluation.verdicts import judge_file

EXAMPLE = "audiolm-audit detect runs/first/audio --json"
EXIT_NOTHING_THERE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="audio files, or folders that are searched for them")
    parser.add_argument("--detector", default=detectors.DEFAULT_DETECTOR, help="name (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--timeline", action="store_true", help="with --json: add windows as [start_s, end_s, llr]")
    parser.add_argument("--json", action="store_true", help="one JSON object per line")


def run(args: argparse.Namespace) -> int:
    files = _files(args.paths)
    detector = pick(detectors.discover(), args.detector, "detector").load(None, args.device)
    with terminal_progress()("detect", len(files)) as advance:
        for path in files:
            line = judge_file(detector, path, timeline=args.timeline)
            print(json.dumps(line, ensure_ascii=False) if args.json else _readable(line), flush=True)
            advance(1)
    return 0 if any(path.exists() for path in files) else EXIT_NOTHING_THERE


def _files(paths: Sequence[str]) -> list[Path]:
    """The named files as they are, and the audio files below the named folders.

    Raises:
        ValueError: only folders were named and none holds audio.
    """
    found: list[Path] = []
    for given in map(Path, paths):
        if given.is_dir():
            found += sorted(
                path
                for path in given.rglob("*")
                if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file()
            )
        else:
            found.append(given)
    if not found:
        raise ValueError(
            f"{', '.join(paths)}: holds no audio file ({', '.join(AUDIO_SUFFIXES)}); name files or folders"
        )
    return found


def _readable(line: dict[str, Any]) -> str:
    number = f"{line['llr']:+.2f} nats" if line["llr"] is not None else ""
    known = f"  [carries our tag: role {line['provenance'].get('role')}]" if line.get("provenance") else ""
    return f"{line['verdict']:<10}  {number or line['reason']}  {line['path']}{known}"
