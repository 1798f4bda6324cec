"""Print every measure of a scored run by role, recording to floor, each with its interval."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from evaluation.aggregation import PAIRED_PREFIX
from evaluation.cli.run_options import split_names
from evaluation.run_folder import RunFolder
from evaluation.table_queries import rows_where

EXAMPLE = "audiolm-audit table runs/first --measures word_error speaker_similarity"
ROLES = (
    "reference",
    "codec",
    "codec-8",
    "codec-4",
    "acoustic",
    "continuation",
    "unconditional",
    "recorded",
    "shuffled",
)
FIELDS = ("estimate", "ci_low", "ci_high", "n_items", "n_speakers", "n_skipped", "n_failed", "method")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="folder that audit or score wrote")
    parser.add_argument(
        "--measures", nargs="+", default=[], metavar="NAME", help="only these scorers or scorer/measure; default: all"
    )
    parser.add_argument(
        "--paired",
        action="store_true",
        help="also the rows paired:..., continuation minus shuffled on the same prompts",
    )
    parser.add_argument("--roles", nargs="+", default=[], metavar="ROLE", help="only these; default: all of the run")
    parser.add_argument("--json", action="store_true", help="print one row per measure and role as JSON")


def run(args: argparse.Namespace) -> int:
    folder = RunFolder(args.run_folder)
    folder.require()
    rows = measure_rows(folder, split_names(args.measures), split_names(args.roles))
    if not (args.paired or args.measures or args.json):
        rows = [row for row in rows if not row["scorer"].startswith(PAIRED_PREFIX)]
    if not rows:
        raise ValueError(f"{args.run_folder}: no measure has that name or role; leave --measures and --roles out")
    print(json.dumps(rows) if args.json else markdown(rows))
    return 0


def measure_rows(folder: RunFolder, names: Sequence[str] = (), roles: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A row per measure and role of the whole run, by scorer, measure and role; None where a number is missing.

    Raises:
        ValueError: the run was not scored.
    """
    if not folder.summary.is_file():
        raise ValueError(f"{folder.path}: was not scored yet; run audiolm-audit score {folder.path}")
    summary = rows_where(pd.read_parquet(folder.summary), group_by="all")
    entries = {(e["scorer"], e["measure"]): e for e in json.loads(folder.measures.read_text(encoding="utf-8"))}
    found = []
    for row in summary.to_dict("records"):
        key = (row["scorer"], row["measure"])
        if names and key[0] not in names and "/".join(key) not in names:
            continue
        if roles and row["role"] not in roles:
            continue
        entry = entries.get(key, {})
        place = {"scorer": key[0], "measure": key[1], "system": row["system"], "role": row["role"]}
        about = {name: entry.get(name, "") for name in ("title", "unit", "direction")}
        found.append(place | about | {name: _plain(row[name]) for name in FIELDS})
    return sorted(found, key=lambda row: (row["scorer"], row["measure"], _rank(row["role"]), row["system"]))


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for a note: a line per measure, a column per role, the interval in brackets, speakers at the end."""
    roles = sorted({row["role"] for row in rows}, key=_rank)
    lines = [
        f"| measure | unit | better | {' | '.join(roles)} | items (speakers) |",
        f"| --- | --- | --- | {' | '.join('---' for _ in roles)} | --- |",
    ]
    for key in dict.fromkeys((row["scorer"], row["measure"]) for row in rows):
        own = {row["role"]: row for row in rows if (row["scorer"], row["measure"]) == key}
        first = next(iter(own.values()))
        cells = [_cell(own.get(role)) for role in roles]
        lines.append(
            f"| `{key[0]}/{key[1]}` | {first['unit']} | {first['direction']} | {' | '.join(cells)} |"
            f" {_range([row['n_items'] for row in own.values()])}"
            f" ({_range([row['n_speakers'] for row in own.values()])}) |"
        )
    return "\n".join(lines)


def _cell(row: Mapping[str, Any] | None) -> str:
    if row is None or row["estimate"] is None:
        return "-"
    text = f"{row['estimate']:.4g}"
    return f"{text} [{row['ci_low']:.4g}, {row['ci_high']:.4g}]" if row["ci_low"] is not None else text


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low}-{high}"


def _rank(role: str) -> tuple[int, str]:
    return (ROLES.index(role) if role in ROLES else len(ROLES), role)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return int(value) if hasattr(value, "item") else value
