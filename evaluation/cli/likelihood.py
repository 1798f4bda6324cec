"""Rank pairs by the model's likelihood: sWUGGY, sBLIMP or a table of your own, each stage, both scorings."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path

from evaluation.bootstrap import Resampler
from evaluation.discovery import discover_generators, pick
from evaluation.likelihood.ranking import RankingRow, rank_pairs, rank_scores, read_pairs
from evaluation.protocols import HasLikelihood
from evaluation.threads import one_thread
from evaluation.whole_files import write_whole

EXAMPLE = "audiolm-audit likelihood pairs.csv --checkpoint nano"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pairs", metavar="TABLE", type=Path,
        help="CSV: id, positive, negative (voice, subset), or a gold table of ZeroSpeech: id, filename, correct",
    )  # fmt: skip
    parser.add_argument("--audio", metavar="FOLDER", type=Path, help="where the files are (default: beside the table)")
    parser.add_argument("--system", default="audiolm", help="system to ask (default: %(default)s)")
    parser.add_argument("--checkpoint", default="nano", help="nano, a folder or a hub id (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the interval (default: %(default)s)")
    parser.add_argument(
        "--submission", metavar="FILE", type=Path, help="write 'file score' lines as ZeroSpeech takes them (semantic)"
    )
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def run(args: argparse.Namespace) -> int:
    pairs = read_pairs(args.pairs, args.audio)
    system = pick(discover_generators(), args.system, "system").load(args.checkpoint, args.device)
    if not isinstance(system, HasLikelihood):
        raise ValueError(f"system {args.system!r} gives no likelihood; use one that has token_nats")
    files = [path for pair in pairs for path in (pair.positive, pair.negative)]
    with one_thread(args.device):
        scores = rank_scores(files, system, system.sample_rate_hz)
    rows = rank_pairs(pairs, scores, Resampler(seed=args.seed))
    if args.submission:
        lines = [f"{path.stem} {-found['semantic'][0]:.6f}" for path, found in scores.items()]
        write_whole(Path(args.submission), "\n".join(lines) + "\n")
    if args.json:
        print(json.dumps([_plain(row) for row in rows]))
        return 0
    for row in rows:
        print(_line(row))
    return 0


def _plain(row: RankingRow) -> dict[str, object]:
    value = asdict(row)
    bounds = value.pop("interval")
    for name in ("estimate", "low", "high"):
        value[name] = bounds[name] if math.isfinite(bounds[name]) else None
    return value | {"method": bounds["method"]}


def _line(row: RankingRow) -> str:
    bounds = row.interval
    interval = f" [{bounds.low:.3f}, {bounds.high:.3f}]" if math.isfinite(bounds.low) else " (no interval)"
    chance = row.chance_low <= bounds.estimate <= row.chance_high
    verdict = "within chance" if chance else "above chance" if bounds.estimate > 0.5 else "below chance"
    return (
        f"{row.subset or 'all':<12} {row.stage:<9} {row.scoring:<5} {bounds.estimate:.3f}{interval}  {row.n_pairs}"
        f" pairs, coin {row.chance_low:.3f} to {row.chance_high:.3f}: {verdict}"
    )
