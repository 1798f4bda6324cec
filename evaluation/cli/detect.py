"""Judge audio files: log-likelihood ratio in nats (higher = more likely bona fide), verdict, or no opinion and why."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import detectors
from audiolm.audio import AUDIO_SUFFIXES, AudioError, probe, read_provenance, stream_blocks
from evaluation.cli.progress_bar import terminal_progress
from evaluation.discovery import pick

EXAMPLE = "audiolm-audit detect runs/first/audio --json"
BLOCK_S = 30.0
EXIT_NOTHING_THERE = 2
BONA_FIDE, SYNTHETIC, NO_OPINION = "bona fide", "synthetic", "no opinion"
LONGEST_WITHOUT_BLOCKS_S = 600.0
"""A detector without ``judge_blocks`` judges at most this much of a file."""


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
            line = _judge(detector, path, timeline=args.timeline)
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


def _judge(detector: detectors.Detector, path: Path, *, timeline: bool) -> dict[str, Any]:
    line: dict[str, Any] = {
        "path": str(path),
        "llr": None,
        "verdict": NO_OPINION,
        "reason": "",
        "detector": detector.name,
    }
    try:
        verdict = _verdict(detector, path)
    except (AudioError, OSError, ValueError) as error:
        return line | {"reason": str(error)}
    if verdict.llr is not None:
        line["llr"] = verdict.llr
        line["verdict"] = SYNTHETIC if verdict.llr < detector.threshold_llr else BONA_FIDE
    line["reason"] = verdict.reason
    if timeline:
        line["timeline"] = [list(window) for window in verdict.timeline]
    provenance = read_provenance(path)
    return line | {"provenance": provenance} if provenance else line


def _verdict(detector: detectors.Detector, path: Path) -> detectors.Verdict:
    info = probe(path)
    blocks = stream_blocks(path, block_s=BLOCK_S)
    judge_blocks = getattr(detector, "judge_blocks", None)
    if judge_blocks is not None:
        return judge_blocks((block.samples for block in blocks), info.sample_rate_hz)
    if info.duration_s > LONGEST_WITHOUT_BLOCKS_S:
        reason = (
            f"lasts {info.duration_s:.0f} s and {detector.name} reads at most {LONGEST_WITHOUT_BLOCKS_S:.0f} s; cut it"
        )
        return detectors.Verdict(llr=None, reason=reason)
    import numpy as np

    return detector.judge(np.concatenate([block.samples for block in blocks]), info.sample_rate_hz)


def _readable(line: dict[str, Any]) -> str:
    number = f"{line['llr']:+.2f} nats" if line["llr"] is not None else ""
    known = f"  [carries our tag: role {line['provenance'].get('role')}]" if line.get("provenance") else ""
    return f"{line['verdict']:<10}  {number or line['reason']}  {line['path']}{known}"
