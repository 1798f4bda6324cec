"""Several processes against one at the same global batch, as a user starts them: the largest difference of a logged
value; and a job of which one process is killed, restarted by torchrun, against one left alone.

    python -m tests.benchmarks.resume --out FOLDER          # makes codec and tokens to train on
    python -m tests.benchmarks.processes --run FOLDER [--parts stage-coarse,w2v-bert] [--ways two,fsdp,nodes,killed]

Starts ``python -m audiolm PART`` and ``torchrun ... -m audiolm PART`` (needs the extra ``scale``): ``two`` processes,
the same with ``fsdp``, two ``nodes`` that meet on loopback, and ``killed``: two processes, one of which gets SIGKILL
after half of the steps; ``--max-restarts 1`` and ``--resume`` have to do the rest.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from audiolm.training_log import read_log
from tests.benchmarks.resume import ROOT, last_step, logged
from tests.benchmarks.table import Row, finish, parser

ALONE = [sys.executable, "-m", "audiolm"]
LAUNCHER = [sys.executable, "-m", "torch.distributed.run"]
ONE_NODE = ("--standalone", "--nproc-per-node", "2")
WAYS = ("two", "fsdp", "nodes", "killed")
PATIENCE_S = 600.0
WITHIN = 1e-4
LOCAL = ("perplexity",)
"""Logged only: codes in use are counted within a process."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--run", type=Path, required=True, help="folder that tests.benchmarks.resume wrote")
    arguments.add_argument("--parts", default="stage-coarse,w2v-bert")
    arguments.add_argument("--ways", default="two", help=f"of {','.join(WAYS)} (default: two)")
    arguments.add_argument("--steps", type=int, default=20)
    args = arguments.parse_args(argv)
    rows = []
    for part in args.parts.split(","):
        values(args.run, part, "one", args.steps)
        rows += [compared_runs(args.run, part, way, args.steps) for way in args.ways.split(",")]
    return finish(rows, args.json)


def compared_runs(run: Path, part: str, way: str, steps: int) -> Row:
    """Train ``part`` one of the ways from the same finished parts as the one before it."""
    if way == "killed":
        values(run, part, "two", steps)
        values(run, part, way, steps)
        whole, again = (logged(run / "processes" / name / part) for name in ("two", way))
        differ = sum(a != b for a, b in zip(whole, again, strict=False)) + abs(len(whole) - len(again))
        name = f"{part}: one of two processes killed, restarted, {len(whole)} values"
        return Row(name=name, value=differ, unit="differ", target="0", met=differ == 0)
    one, several = (values(run, part, name, steps) for name in ("one", way))
    if one.keys() != several.keys():
        raise SystemExit(f"{part}: the logs hold different values; see {run / 'processes'}")
    largest = max(abs(one[key] - several[key]) for key in one if key[1].removeprefix("valid_") not in LOCAL)
    return Row(
        name=f"{part}: {way} against one, {steps} steps, {len(one)} values",
        value=largest * 1e6,
        unit="1e-6",
        target=f"< {WITHIN * 1e6:g}",
        met=largest < WITHIN,
    )


def values(run: Path, part: str, way: str, steps: int) -> dict[tuple[int, str], float]:
    """Logged values of a run; one that is there already with as many steps is not made again."""
    out = run / "processes" / way
    if last_step(out / part) != steps or not (out / part / "training.json").exists():
        for needed in ("codec", "semantic", "w2v-bert"):
            if needed != part and not (out / needed).exists():
                shutil.copytree(run / "whole" / needed, out / needed)
        shutil.rmtree(out / part, ignore_errors=True)
        command = [part, "--recipe", str(run / "recipe.toml"), "--data", str(run / "few.csv"), "--out", str(out)]
        command += ["--steps", str(steps), "--log-every", "1", "--save-every", "4", "--device", "cpu", "--threads", "1"]
        _run(way, command, out / part, steps)
    return {(step, key): value for step, _, key, value in read_log(out / part / "log.csv")}


def _run(way: str, command: list[str], folder: Path, steps: int) -> None:
    if way == "one":
        _wait(_start([*ALONE, *command]))
    elif way == "nodes":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        meet = ("--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d", "--rdzv-endpoint", address)
        launcher = [*LAUNCHER, *meet, "--local-addr", "127.0.0.1", "-m", "audiolm"]
        _wait(*[_start([*launcher, *command]) for _ in range(2)])
    elif way == "killed":
        job = _start([*LAUNCHER, *ONE_NODE, "--max-restarts", "1", "-m", "audiolm", *command, "--resume"])
        deadline_s = time.monotonic() + PATIENCE_S
        while last_step(folder) < steps // 2 and job.poll() is None and time.monotonic() < deadline_s:
            time.sleep(0.01)
        workers = psutil.Process(job.pid).children()
        if len(workers) < 2:
            raise SystemExit(f"{folder}: the job has {len(workers)} processes; two were to run")
        workers[-1].send_signal(signal.SIGKILL)
        _wait(job)
    else:
        strategy = ["--strategy", "fsdp"] if way == "fsdp" else []
        _wait(_start([*LAUNCHER, *ONE_NODE, "-m", "audiolm", *command, *strategy]))


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


def _wait(*jobs: subprocess.Popen[bytes]) -> None:
    for job in jobs:
        if job.wait() != 0:
            raise SystemExit(f"a training ended with status {job.returncode}: {job.args}")


if __name__ == "__main__":
    raise SystemExit(main())
