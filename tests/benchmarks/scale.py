"""Scoring at size: memory and cost per row of a long manifest, two workers, Ray against processes, a node that dies.

    python -m tests.benchmarks.scale [--parts memory,workers,ray,kill] [--rows 1000000] [--out FOLDER] [--json]

``memory`` streams a manifest of 10,000 rows and one of ``--rows``, audio simulated, cheap measures, one process each.
``workers`` and ``ray`` score ``--items`` simulated clips by shipped scorers; ``ray`` and ``kill`` need the extra ray.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evaluation.at_size import StreamOptions, run_streamed
from evaluation.config import RunConfig
from evaluation.engines import EngineOptions
from evaluation.engines.ray_cluster import SETTINGS
from tests.benchmarks.simulated import CheapMetric, SimulatedSource, write_manifest
from tests.benchmarks.table import Row, compared, finish, parser, peak_mib

ROOT = Path(__file__).resolve().parents[2]
BASE_ROWS = 10_000
SCORERS = ("pitch", "signal_quality")
CLIP_S = 2.0


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--parts", default="memory,workers,ray,kill")
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--items", type=int, default=2_000)
    arguments.add_argument(
        "--out", type=Path, help="where runs lie while they are measured (default: a temporary folder)"
    )
    arguments.add_argument("--one", type=int, help="stream so many rows in this process and print what it took")
    args = arguments.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="scale-") as made:
        out = args.out or Path(made)
        out.mkdir(parents=True, exist_ok=True)
        if args.one:
            print(json.dumps(streamed_once(out, args.one)))
            return 0
        measured: dict[str, Callable[[], list[Row]]] = {
            "memory": lambda: memory(out, args.rows),
            "workers": lambda: workers(out, args.items),
            "ray": lambda: ray_overhead(out, args.items),
            "kill": lambda: node_killed(out, args.items // 5),
        }
        rows = [row for part in args.parts.split(",") for row in measured[part]()]
    return finish(rows, args.json)


def memory(out: Path, rows: int) -> list[Row]:
    """Peak memory and processor time per row of a long run against a short one, each in a process of its own."""
    few, many = (_alone(out, count) for count in (BASE_ROWS, rows))
    base = f"{BASE_ROWS} rows"
    flat = compared(
        f"cost per row, last tenth of {rows} rows", many["last_us"], "us/row", "first tenth", many["first_us"]
    )
    each = compared(f"cost per row, {rows} rows, all steps", many["each_us"], "us/row", base, few["each_us"])
    return [
        compared(f"peak memory, {rows} rows", many["peak_mib"], "MiB", base, few["peak_mib"], at_most=1.2),
        _within(flat, 0.1),
        _within(each, 0.1),
    ]


def _within(row: Row, share: float) -> Row:
    ratio = row.ratio or 0.0
    return Row(name=row.name, value=row.value, unit=row.unit, against=row.against, ratio=ratio,
               target=f"<= {1 + share:g} x", met=ratio <= 1 + share)  # fmt: skip


def _alone(out: Path, rows: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.scale", "--one", str(rows), "--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def streamed_once(out: Path, rows: int) -> dict[str, float]:
    """Stream a manifest in this process: peak memory, and processor time per row by tenths of the scoring."""
    manifest = write_manifest(out / f"manifest-{rows}.parquet", rows)
    marks: list[tuple[int, float]] = []

    @contextmanager
    def clock(title: str, total: int) -> Iterator[Callable[[int], None]]:
        marks.append((0, time.process_time()))
        yield lambda steps: marks.append((marks[-1][0] + steps, time.process_time()))

    options = StreamOptions(source=SimulatedSource(name=str(manifest)), metrics=(CheapMetric(),))
    begun, run = time.process_time(), out / f"run-{rows}"
    run_streamed(RunConfig(recorded=str(manifest), max_seconds=4.0), run, options, progress=clock)
    spent = time.process_time() - begun
    shutil.rmtree(run)
    tenth = max(1, len(marks) // 10)
    first, last = marks[tenth], marks[-1 - tenth]
    return {
        "peak_mib": peak_mib(),
        "each_us": 1e6 * spent / rows,
        "first_us": 1e6 * (first[1] - marks[0][1]) / max(first[0], 1),
        "last_us": 1e6 * (marks[-1][1] - last[1]) / max(marks[-1][0] - last[0], 1),
    }


def scored(out: Path, items: int, engine: EngineOptions, *, seen: Callable[[int], None] = lambda steps: None) -> float:
    """Seconds to score simulated clips by shipped scorers, from the first part written to the last.

    Start of workers and reading of models are left out: they do not grow with the items.
    """
    manifest = write_manifest(out / f"items-{items}.parquet", items)
    marks: list[float] = []

    @contextmanager
    def clock(title: str, total: int) -> Iterator[Callable[[int], None]]:
        yield lambda steps: (marks.append(time.perf_counter()), seen(len(marks)))[1]

    run = out / f"{engine.kind}-{engine.workers}"
    shutil.rmtree(run, ignore_errors=True)
    source = SimulatedSource(name=str(manifest), seconds=CLIP_S)
    options = StreamOptions(source=source, engine=engine, shard_rows=20)
    config = RunConfig(recorded=str(manifest), max_seconds=4.0, scorers=SCORERS)
    run_streamed(config, run, options, progress=clock)
    return marks[-1] - marks[0]


def workers(out: Path, items: int) -> list[Row]:
    one = scored(out, items, EngineOptions(name="processes", workers=1))
    two = scored(out, items, EngineOptions(name="processes", workers=2))
    row = compared(f"two worker processes, {items} clips", items / two, "clips/s", "one", items / one, at_least=1.7)
    return [row]


def ray_overhead(out: Path, items: int) -> list[Row]:
    processes = scored(out, items, EngineOptions(name="processes", workers=2))
    with_ray = scored(out, items, EngineOptions(name="ray", workers=2))
    return [compared(f"ray, two workers, {items} clips", with_ray, "s", "processes", processes, at_most=1.15)]


def node_killed(out: Path, items: int) -> list[Row]:
    """A cluster of two nodes with one worker each; one node is killed when a quarter of the parts are there."""
    scored(out, items, EngineOptions(name="local"))
    with local_cluster(2) as (cluster, nodes):
        parts = max(1, items // 20 // 4)
        lost: list[Any] = []

        def seen(done: int) -> None:
            if done >= parts and not lost:
                lost.append(nodes[-1])
                cluster.remove_node(nodes[-1], allow_graceful=False)

        scored(out, items, EngineOptions(name="ray", workers=2), seen=seen)
    wanted, found = out / "local-1", out / "ray-2"
    names = sorted(path.relative_to(wanted) for path in wanted.rglob("*.parquet"))
    same = names == sorted(path.relative_to(found) for path in found.rglob("*.parquet"))
    differing = (
        sum((wanted / name).read_bytes() != (found / name).read_bytes() for name in names) if same else len(names)
    )
    return [Row(name=f"node killed in mid-run: part files that differ of {len(names)}", value=differing, unit="files",
                target="0", met=differing == 0)]  # fmt: skip


@contextmanager
def local_cluster(nodes: int) -> Iterator[tuple[Any, list[Any]]]:
    """A head that takes no work and nodes with one processor each, all on this machine."""
    import ray  # pyright: ignore[reportMissingImports]
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    os.environ.update(SETTINGS)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    small: dict[str, Any] = {"object_store_memory": 80 * 1024**2}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    try:
        added = [cluster.add_node(num_cpus=1, **small) for _ in range(nodes)]
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        yield cluster, added
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    raise SystemExit(main())
