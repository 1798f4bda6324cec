"""Every row of the speed table in one go: each part in a process of its own with a time limit, then one table.

    python -m tests.benchmarks.all [--minutes 10] [--only decode,codec] [--data CORPUS/manifest.csv] [--json]

Parts come in order of weight; one that no longer fits the minutes, or fails, is named as not run, never left out in
silence, and the others go on. The last line counts the targets met.
A quiet machine of two cores takes about ten minutes; nothing else should run. More minutes raise every limit alike. Two
threads, passive waiting, unless a row says otherwise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.table import Row, finish, parser, show

USUAL_MINUTES = 10.0
ROOT = Path(__file__).resolve().parents[2]


class Part(NamedTuple):
    """A benchmark's module with its arguments; ``limit_s``: most seconds it may take; ``threads``: of torch."""

    name: str
    arguments: tuple[str, ...]
    limit_s: float
    threads: int = 2


def parts(data: Path | None) -> list[Part]:
    """What the table holds, in order."""
    made = [
        Part("machine", (), 45),
        Part("decode", ("--parts", "start", "--rounds", "20"), 60),
        Part("continuation", (), 60),
        Part("continuation", (), 60, threads=1),
        Part("codec", ("--rounds", "3", "--no-discriminator"), 120),
        Part("decode", ("--parts", "long", "--rounds", "12"), 90),
        Part("decode", ("--parts", "precision", "--rounds", "12"), 90),
        Part("decode", ("--parts", "batch", "--rounds", "8"), 90),
        Part("decode", ("--parts", "ten", "--sizes", "6x512"), 90),
        Part("memory", (), 240),
        Part("train_step", ("--sizes", "6x512", "--rounds", "2"), 120),
        Part("decode", ("--parts", "ten", "--sizes", "paper", "--precisions", "float32,int8"), 180),
        Part("train_step", ("--sizes", "paper", "--rounds", "1"), 300),
    ]
    if data is not None:
        made.insert(7, Part("precision_loss", ("--data", str(data)), 90))
    return made


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--minutes", type=float, default=USUAL_MINUTES)
    arguments.add_argument("--only", default="", help="modules, separated by commas")
    arguments.add_argument("--data", type=Path, help="manifest with a dev split, for the held-out loss")
    args = arguments.parse_args(argv)
    wanted = set(args.only.split(",")) - {""}
    chosen = [part for part in parts(args.data) if not wanted or part.name in wanted]
    if unknown := wanted - {part.name for part in chosen}:
        raise SystemExit(f"no such part: {', '.join(sorted(unknown))}; use {', '.join({p.name for p in parts(None)})}")
    rows: list[Row] = []
    for made in measured(chosen, args.minutes):
        rows += made
        if not args.json:
            show(made)
    if args.json:
        return finish(rows, as_json=True)
    aimed = [row for row in rows if row.met is not None]
    print(f"{sum(bool(row.met) for row in aimed)} of {len(aimed)} targets met")
    return 0


def measured(chosen: Sequence[Part], minutes: float) -> Iterator[list[Row]]:
    """The rows of each part in turn."""
    until, patience = time.monotonic() + 60 * minutes, max(1.0, minutes / USUAL_MINUTES)
    for part in chosen:
        limit = min(part.limit_s * patience, until - time.monotonic())
        if limit < part.limit_s / 3:
            yield [_nothing(part, "no time left", 0.0)]
            continue
        yield _run(part, limit)


def _run(part: Part, limit: float) -> list[Row]:
    command = [sys.executable, "-m", f"tests.benchmarks.{part.name}", *part.arguments, "--json"]
    environment = os.environ | {
        "OMP_WAIT_POLICY": "passive",
        "OMP_NUM_THREADS": str(part.threads),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    start = time.monotonic()
    try:
        done = subprocess.run(
            command, env=environment, cwd=ROOT, timeout=limit, check=True, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired:
        return [_nothing(part, f"not done in {limit:.0f} s", limit)]
    except subprocess.CalledProcessError as error:
        ended = f"signal {-error.returncode}, no memory left?" if error.returncode < 0 else "no message"
        reason = (error.stderr.strip().splitlines() or [ended])[-1]
        return [_nothing(part, f"failed: {reason}", time.monotonic() - start)]
    try:
        rows = [Row(**row) for row in json.loads(done.stdout.strip().splitlines()[-1])]
    except (IndexError, TypeError, ValueError) as error:
        return [_nothing(part, f"no rows in what it printed: {error}", time.monotonic() - start)]
    alone = "" if part.threads == 2 else f" ({part.threads} thread)"
    return [replace(row, name=row.name + alone) for row in rows]


def _nothing(part: Part, reason: str, seconds: float) -> Row:
    return Row(name=f"{part.name} {' '.join(part.arguments)}: {reason}", value=seconds, unit="s spent")


if __name__ == "__main__":
    raise SystemExit(main())
