"""An audit killed at random moments, resumed, and compared with an undisturbed one.

    python tests/faults/kills.py --kills 50 [--seed 1] [--json]

Each round starts the same small audit in a new folder, ends its whole process group with SIGKILL at a moment drawn by
seed between its first and its last instant, goes on with --resume and compares every table, every clip and the
findings with those of the undisturbed run. Processes are forked from one that has loaded the libraries, so that moments
fall into work and not into imports; ``--fresh N`` does N more rounds as commands of their own with two workers.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import soundfile as sf  # noqa: E402
from benchmarks.table import Row, finish, parser  # noqa: E402

SCORERS = "signal_quality,pitch,speech_likeness"
NOT_COMPARED = {"wall_s"}
"""How long something took is the only thing a kill may change."""

__all__ = ["differences", "kill_rounds", "write_clips"]


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--kills", type=int, default=50)
    options.add_argument("--fresh", type=int, default=2, help="further rounds as commands with two workers")
    options.add_argument("--clips", type=int, default=12)
    options.add_argument("--seed", type=int, default=1)
    args = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as scratch:
        rows = kill_rounds(Path(scratch), kills=args.kills, fresh=args.fresh, clips=args.clips, seed=args.seed)
    return finish(rows, args.json)


def kill_rounds(scratch: Path, *, kills: int, fresh: int, clips: int, seed: int) -> list[Row]:
    """Rows of the table; ``scratch`` is an empty folder."""
    folder = write_clips(scratch / "clips", clips)
    draw = random.Random(seed)
    _load()
    started = time.perf_counter()
    whole = scratch / "whole"
    _end(_forked(folder, whole, resume=False))
    length = time.perf_counter() - started
    differing = late = 0
    for number in range(kills):
        moment = draw.uniform(0.0, length)
        found, was_late = _round(folder, whole, scratch / f"run-{number}", moment)
        print(f"kill {number + 1} after {moment:.2f} s: {', '.join(found) or 'no difference'}", file=sys.stderr)
        differing, late = differing + bool(found), late + was_late
    rows = [
        Row(name="kills at random moments, each resumed", value=kills, unit="kills",
            against=f"of {length:.1f} s, {late} after its end"),
        Row(name="runs whose tables, clips or findings differ", value=differing, unit="runs", target="0",
            met=differing == 0),
    ]  # fmt: skip
    if fresh:
        found = [_fresh_round(folder, scratch / f"fresh-{number}", whole, draw) for number in range(fresh)]
        wrong = sum(bool(one) for one in found)
        rows.append(
            Row(name="the same as commands with two workers", value=wrong, unit="runs differ",
                against=f"{fresh} kills", target="0", met=wrong == 0)
        )  # fmt: skip
    return rows


def write_clips(folder: Path, count: int) -> Path:
    """Short tones in noise, one too short and one broken, so that rows with reasons are in the tables."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    for number in range(count):
        length = 8_000 + 400 * number
        samples = 0.2 * np.sin(np.arange(length) * (0.05 + 0.01 * number)) + 0.01 * rng.standard_normal(length)
        sf.write(folder / f"clip-{number:02d}.wav", samples if number != 3 else samples[:300], 16_000)
    (folder / "broken.wav").write_bytes(b"RIFF....")
    return folder


def differences(run: Path, whole: Path) -> list[str]:
    """What a resumed run has different from an undisturbed one, and what a kill left lying about."""
    found = []
    for name in ("generations.parquet", "scores.parquet", "summary.parquet", "transcripts.parquet"):
        found += [name] * (_table(run / name) != _table(whole / name))
    for name in ("measures.json", "curves.json", "findings.json"):
        found += [name] * (_document(run / name) != _document(whole / name))
    if _clips(run) != _clips(whole):
        found.append("audio")
    left = [path.name for path in run.rglob(".*") if path.name.startswith(".lock") or path.name.endswith(".tmp")]
    return found + [f"left behind: {name}" for name in left]


def _table(path: Path) -> object:
    if not path.is_file():
        return None
    table = pq.read_table(path)
    return table.select([name for name in table.column_names if name not in NOT_COMPARED]).to_pydict().__repr__()


def _document(path: Path) -> object:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _clips(run: Path) -> Mapping[str, str]:
    files = sorted(path for path in (run / "audio").rglob("*") if path.is_file())
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _round(folder: Path, whole: Path, run: Path, moment: float) -> tuple[list[str], bool]:
    """One kill and one resume: differences, and whether the run was over before its kill."""
    process = _forked(folder, run, resume=False)
    until = time.perf_counter() + moment
    while time.perf_counter() < until and not _is_over(process):
        time.sleep(0.002)
    was_late = _is_over(process)
    if not was_late:
        os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
    _end(_forked(folder, run, resume=(run / "run.json").is_file()))
    found = differences(run, whole)
    shutil.rmtree(run)
    return found, was_late


def _fresh_round(folder: Path, run: Path, whole: Path, draw: random.Random) -> list[str]:
    command = [sys.executable, "-m", "evaluation.cli", *_arguments(folder, run, workers=2)]
    process = subprocess.Popen(command, start_new_session=True, cwd=ROOT, **_quiet())  # type: ignore[call-overload]
    until = time.perf_counter() + draw.uniform(1.0, 60.0)
    while time.perf_counter() < until and process.poll() is None and not (run / "audio").is_dir():
        time.sleep(0.05)
    time.sleep(draw.uniform(0.0, 3.0))
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    resume = ["--resume"] if (run / "run.json").is_file() else []
    again = subprocess.run([*command, *resume], cwd=ROOT, check=False, **_quiet())  # type: ignore[call-overload]
    return [f"exit code {again.returncode}"] if again.returncode else differences(run, whole)


def _quiet() -> dict[str, object]:
    return {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": os.environ | {"PYTHONPATH": str(ROOT)}}


def _arguments(folder: Path, run: Path, *, workers: int) -> list[str]:
    return [
        "audit", "--system", str(folder), "--out", str(run), "--scorers", SCORERS, "--gate", "never",
        "--workers", str(workers),
    ]  # fmt: skip


def _load() -> None:
    """What every child needs, loaded once."""
    import torch

    from evaluation.discovery import discover_metrics

    for name in ("evaluation.audit", "evaluation.cli.audit", "reports.build", "torchaudio"):
        importlib.import_module(name)
    discover_metrics()
    torch.set_num_threads(1)


def _forked(folder: Path, run: Path, *, resume: bool) -> int:
    """A child, in a process group of its own, that does the audit and nothing else."""
    from evaluation.cli import main as command

    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    code = 99
    try:
        code = command([*_arguments(folder, run, workers=1), *(["--resume"] if resume else [])])
    finally:
        os._exit(code)


def _is_over(process: int) -> bool:
    """Whether a child has ended; it is not waited for (its number stays its own)."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end(process: int) -> None:
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise RuntimeError(f"an undisturbed audit ended with {code}")


if __name__ == "__main__":
    sys.exit(main())
