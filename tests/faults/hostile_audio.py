"""Thousands of hostile or broken audio files through the whole audit: each one a row, no crash, bounded memory.

    python tests/faults/hostile_audio.py --count 10000 [--seed 1] [--json]

Twice: each file alone through the door of all audio in a process that is watched (time per file, crashes), then all of
them as ``audit --system FOLDER`` in a process of its own, whose table is counted and whose peak memory is read.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import pyarrow.parquet as pq  # noqa: E402
from benchmarks.table import Row, finish, parser  # noqa: E402
from faults.hostile_files import write_hostile_files  # noqa: E402
from faults.watching import run_watched  # noqa: E402

LIMIT_S = 10.0
SCORER = "signal_quality"

__all__ = ["audit_rows", "door_rows"]


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--count", type=int, default=10_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--keep", type=Path, help="an empty folder for the files, kept")
    args = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="hostile-") as scratch:
        folder = args.keep or Path(scratch) / "clips"
        folder.mkdir(parents=True, exist_ok=True)
        kinds = write_hostile_files(folder, args.seed, args.count)
        print(f"{len(kinds)} files: {dict(Counter(kinds.values()))}", file=sys.stderr)
        rows = [*door_rows(folder, args.count), *audit_rows(folder, Path(scratch) / "run", args.count)]
    return finish(rows, args.json)


def door_rows(folder: Path, count: int) -> list[Row]:
    """Every file through ``AudioClip.from_file``, ``stream_blocks`` and ``read_provenance`` in a watched process."""
    left = sorted(path.name for path in folder.iterdir())
    crashes = hangs = taken = refused = 0
    slowest, peak = 0.0, 0.0
    while left:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "faults" / "door.py"), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            errors="surrogateescape", env=_environment(),
        )  # fmt: skip
        answers = run_watched(process, [json.dumps(name) for name in left], LIMIT_S)
        for line in answers:
            answer: dict[str, Any] = json.loads(line)
            taken, refused = taken + answer["ok"], refused + (not answer["ok"])
            slowest, peak = max(slowest, answer["seconds"]), max(peak, answer["peak_mib"])
        done = len(answers)
        if done < len(left):
            print(f"fell on {left[done]!r}", file=sys.stderr)
            hangs, crashes = hangs + (process.returncode == -9), crashes + (process.returncode != -9)
        left = left[done + 1 :]
    return [
        Row(name="door: crashes", value=crashes, unit="files", target="0", met=crashes == 0),
        Row(name=f"door: slower than {LIMIT_S:g} s", value=hangs, unit="files", target="0", met=hangs == 0),
        Row(name="door: slowest file", value=slowest, unit="s cpu", target=f"<= {LIMIT_S:g}", met=slowest <= LIMIT_S),
        Row(name="door: taken", value=taken, unit="files", against=f"{refused} refused with a sentence"),
        Row(name="door: peak memory", value=peak, unit="MiB", target="< 954", met=peak < 954),
    ]


def audit_rows(folder: Path, run: Path, count: int) -> list[Row]:
    """``audit --system`` over all of them: rows with status and reason, exit code, peak memory."""
    command = [
        sys.executable, "-m", "evaluation.cli", "audit", "--system", str(folder), "--out", str(run), "--gate", "never",
        "--scorers", SCORER, "--max-seconds", "4", "--workers", "1",
    ]  # fmt: skip
    started = time.perf_counter()
    process = subprocess.Popen(command, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peak = 0.0
    with tempfile.TemporaryFile() as errors:
        process.stderr, stream = None, process.stderr
        while process.poll() is None:
            peak = max(peak, _peak_mib(process.pid))
            if stream is not None:
                errors.write(stream.read1(1 << 16) if hasattr(stream, "read1") else b"")  # type: ignore[attr-defined]
            time.sleep(0.05)
    wall = time.perf_counter() - started
    table = pq.read_table(run / "generations.parquet", columns=["status", "reason"]).to_pylist()
    statuses = Counter(row["status"] for row in table)
    silent = sum(row["status"] != "ok" and not row["reason"] for row in table)
    scores = pq.read_table(run / "scores.parquet", columns=["item_id", "status", "reason"]).to_pylist()
    scored = {row["item_id"] for row in scores}
    bad = sum(row["status"] != "ok" and not row["reason"] for row in scores)
    whole = len(table) == count and len(scored) == count
    return [
        Row(name="audit: exit code", value=process.returncode, unit="", target="0", met=process.returncode == 0),
        Row(name="audit: rows", value=len(table), unit="rows", against=json.dumps(statuses), target=str(count),
            met=whole),
        Row(name="audit: items in scores", value=len(scored), unit="items", target=str(count), met=whole),
        Row(name="audit: rows without a reason", value=silent + bad, unit="rows", target="0", met=silent + bad == 0),
        Row(name="audit: report", value=float((run / "report.html").is_file()), unit="file", target="1",
            met=(run / "report.html").is_file()),
        Row(name="audit: peak memory", value=peak, unit="MiB", against=f"{wall:.0f} s", target="< 954", met=peak < 954),
    ]  # fmt: skip


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


def _peak_mib(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


if __name__ == "__main__":
    sys.exit(main())
