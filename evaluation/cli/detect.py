"""Judge audio files: log-likelihood ratio in nats (higher = more likely bona fide), verdict, or no opinion and why."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import detectors
from evaluation.cli.progress_bar import terminal_progress
from evaluation.cli.run_options import add_workers, engine_options
from evaluation.detect_inputs import STANDARD_INPUT, audio_files
from evaluation.detect_page import DetectPage
from evaluation.detect_verdicts import OPERATING_POINTS
from evaluation.detect_work import DetectWork
from evaluation.engines import open_engine
from evaluation.watermark import DEFAULT_WEIGHTS

EXAMPLE = "audiolm-audit detect runs/first/audio --json"
EXIT_NOTHING_THERE = 2
SHARD_FILES = 8
"""Files that a worker judges before it hands in its lines."""
COLUMNS = ("path", "llr", "verdict", "reason", "detector", "operating_point", "threshold_llr", "seams_s")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="audio files, folders, patterns ('*.wav'), or - for standard input",
    )
    parser.add_argument("--detector", default=detectors.DEFAULT_DETECTOR, help="name (default: %(default)s)")
    parser.add_argument("--weights", metavar="FOLDER", help="this detector's folder in place of the shipped one")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument(
        "--operating-point",
        default="balanced",
        choices=tuple(OPERATING_POINTS),
        help="; ".join(f"{name}: {what}" for name, what in OPERATING_POINTS.items()).replace("%", "%%"),
    )
    parser.add_argument("--timeline", action="store_true", help="kept for older scripts: --json always has it")
    add_workers(parser, default=1)
    parser.add_argument(
        "--watermark",
        nargs="?",
        const=DEFAULT_WEIGHTS,
        metavar="WEIGHTS",
        help="also look for AudioSeal watermarks (extra: watermark); finding none says nothing",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one JSON object per line")
    output.add_argument("--tsv", action="store_true", help="a table with tabs and a header line")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a page with spectrograms and timelines")


def run(args: argparse.Namespace) -> int:
    total = sum(1 for _ in audio_files(args.paths))  # complains before anything is loaded
    options = engine_options(args)
    if STANDARD_INPUT in args.paths and options.kind != "local":
        raise ValueError("- (standard input) is read by this process; leave out --workers and --engine")
    work = DetectWork(
        detector=args.detector,
        device=args.device,
        operating_point=args.operating_point,
        watermark=args.watermark or "",
        weights=args.weights or "",
        item_limit_s=options.item_limit_s,
    )
    if args.tsv:
        print("\t".join(COLUMNS))
    there = False
    with contextlib.ExitStack() as stack:
        page = stack.enter_context(DetectPage(args.html)) if args.html else None
        advance = stack.enter_context(terminal_progress()("detect", total))
        engine = stack.enter_context(open_engine(options))
        for lines in engine.map(work, _shards(args.paths, 1 if options.kind == "local" else SHARD_FILES)):
            for line in lines:
                print(_shown(line, args), flush=True)
                path = Path(line["path"])
                there = there or str(path) == STANDARD_INPUT or path.exists()
                if page is not None:
                    page.add(line, path)
            advance(len(lines))
    return 0 if there else EXIT_NOTHING_THERE


def _shards(paths: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    files = map(str, audio_files(paths))
    while shard := tuple(itertools.islice(files, size)):
        yield shard


def _shown(line: dict[str, Any], args: argparse.Namespace) -> str:
    if args.json:
        return json.dumps(line, ensure_ascii=False)
    return _tabbed(line) if args.tsv else _readable(line)


def _tabbed(line: dict[str, Any]) -> str:
    cells = [_no_formula(line[name]) if name == "path" else line[name] for name in COLUMNS]
    return "\t".join(_one_line(_cell(cell)) for cell in cells)


def _no_formula(path: str) -> str:
    """A relative path that a spreadsheet would run as a formula, written as the same path from ``./``."""
    return f"./{path}" if path[:1] in ("=", "+", "-", "@") and path != STANDARD_INPUT else path


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ",".join(f"{one:.2f}" for one in value)
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _one_line(text: str) -> str:
    """Line breaks, tabs and other control characters of a file name shown as escapes: one file, one line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _readable(line: dict[str, Any]) -> str:
    number = f"{line['llr']:+.2f} nats" if line["llr"] is not None else ""
    reason = _one_line(line["reason"].removeprefix(f"{line['path']}: "))
    said = "  ".join(part for part in (number, reason) if part)
    generated = [part for part in line["segments"] if part["label"] == "synthetic"] if line["seams_s"] else []
    where = ", ".join(f"{part['start_s']:.1f}-{part['end_s']:.1f} s" for part in generated[:5])
    known = "".join(f"  [{part['says']}]" for part in line["evidence"] if "says" in part)
    looks = f"  looks generated: {where}" if where else ""
    return f"{line['verdict']:<10}  {said}  {_one_line(line['path'])}{looks}{known}"
