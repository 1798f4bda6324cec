"""Measures by group of speakers, generated minus recorded, with adjusted p-values; cells that are too small stay."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.bootstrap import Resampler
from evaluation.frames import read_generations, read_scores
from evaluation.multiplicity import METHODS
from evaluation.run_folder import RunFolder
from evaluation.slices import NO_RECORDINGS, slice_table
from evaluation.table_rows import read_rows
from evaluation.whole_files import whole_file

EXAMPLE = "audiolm-audit slices runs/first --by gender accent --measures word_error/wer speaker_similarity/cosine"
ROLES = ("codec", "acoustic", "continuation", "recorded")
MEASURES = ("word_error/wer", "speaker_similarity/cosine")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="folder of a scored run")
    parser.add_argument("--by", nargs="+", metavar="COLUMN", help="columns (default: all groups of the run)")
    parser.add_argument("--manifest", type=Path, help="take the columns from this table instead, by utterance_id")
    parser.add_argument("--measures", nargs="+", metavar="SCORER/MEASURE", help=f"default: {' '.join(MEASURES)}")
    parser.add_argument("--roles", nargs="+", default=list(ROLES), metavar="ROLE")
    parser.add_argument("--adjust", choices=METHODS, default="holm", help="over all cells (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def run(args: argparse.Namespace) -> int:
    folder = RunFolder(args.run_folder)
    seed = int(folder.require()["seeds"]["bootstrap"])
    records, scores = read_generations(folder.generations), read_scores(folder.scores)
    measures = json.loads(folder.measures.read_text(encoding="utf-8"))
    present = {(entry["scorer"], entry["measure"]) for entry in measures}
    names = args.measures or [name for name in MEASURES if tuple(name.split("/")) in present]
    groups = _columns(args.manifest) if args.manifest else None
    labels = groups.values() if groups else (record.groups for record in records)
    axes = args.by or sorted({axis for found in labels for axis in found} if not groups else [])
    if not axes or not names:
        raise ValueError(f"{args.run_folder}: nothing to slice; name columns with --by and measures with --measures")
    frame = slice_table(
        scores, records, measures, names=names, axes=axes, roles=args.roles, resampler=Resampler(seed=seed),
        method=args.adjust, groups=groups,
    )  # fmt: skip
    with whole_file(folder.path / "slices.parquet") as temporary:
        frame.to_parquet(temporary, index=False)
    rows = frame.to_dict("records")
    if args.json:
        print(json.dumps([{k: None if v != v else v for k, v in row.items()} for row in rows]))
        return 0
    for row in rows:
        print(_line(row))
    if any(NO_RECORDINGS in row["method"] for row in rows):
        print(NO_RECORDINGS)
    print(f"table: {folder.path / 'slices.parquet'}")
    return 0


def _columns(path: Path) -> dict[str, dict[str, str]]:
    """Every filled column of a manifest by utterance id."""
    found: dict[str, dict[str, str]] = {}
    for row in read_rows(path):
        name = next((row.values[key] for key in ("utterance_id", "id", "utt_id") if row.values.get(key)), "")
        found[name] = {key: value for key, value in row.values.items() if value}
    return found


def _line(row: Mapping[Any, Any]) -> str:
    where = f"{row['axis']}={row['group']}"
    interval = f" [{row['excess_low']:+.3f}, {row['excess_high']:+.3f}]" if math.isfinite(row["excess_low"]) else ""
    test = row["status"] if row["status"] != "ok" else f"gap {row['gap']:+.3f}, adjusted p {row['p_adjusted']:.3g}"
    if NO_RECORDINGS in row["method"]:
        against = f"{row['estimate']:.3f}{interval.replace('+', '')}"
    else:
        against = f"{row['estimate']:.3f}, recordings {row['reference']:.3f}, excess {row['excess']:+.3f}{interval}"
    return (
        f"{where:<34} {row['measure']:<26} {row['role']:<12} {against}"
        f"  {row['n_speakers']} speakers, {row['n_items']} clips: {test}"
    )
