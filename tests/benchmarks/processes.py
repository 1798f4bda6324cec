"""Two processes against one at the same global batch, as a user starts them: the largest difference of a logged value.

    python -m tests.benchmarks.resume --out FOLDER          # makes codec and tokens to train on
    python -m tests.benchmarks.processes --run FOLDER [--parts stage-coarse,w2v-bert] [--steps 20] [--json]

Starts ``python -m audiolm PART`` and ``torchrun --nproc-per-node 2 -m audiolm PART`` (needs the extra ``scale``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from audiolm.training_log import read_log
from tests.benchmarks.resume import ROOT
from tests.benchmarks.table import Row, finish, parser

ALONE = [sys.executable, "-m", "audiolm"]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "audiolm"]
WITHIN = 1e-4
LOCAL = ("perplexity",)
"""Logged only: codes in use are counted within a process."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--run", type=Path, required=True, help="folder that tests.benchmarks.resume wrote")
    arguments.add_argument("--parts", default="stage-coarse,w2v-bert")
    arguments.add_argument("--steps", type=int, default=20)
    args = arguments.parse_args(argv)
    rows = [compared_runs(args.run, part, args.steps) for part in args.parts.split(",")]
    return finish(rows, args.json)


def compared_runs(run: Path, part: str, steps: int) -> Row:
    """Train ``part`` both ways from the same finished parts."""
    logs = []
    for name, launcher in (("one", ALONE), ("two", TWO)):
        out = run / "processes" / name
        for needed in ("codec", "semantic", "w2v-bert"):
            if needed != part and not (out / needed).exists():
                shutil.copytree(run / "whole" / needed, out / needed)
        shutil.rmtree(out / part, ignore_errors=True)
        command = [*launcher, part, "--recipe", str(run / "recipe.toml"), "--data", str(run / "few.csv")]
        command += ["--out", str(out), "--steps", str(steps), "--log-every", "1", "--device", "cpu", "--threads", "1"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        logs.append({(step, key): value for step, _, key, value in read_log(out / part / "log.csv")})
    one, two = logs
    if one.keys() != two.keys():
        raise SystemExit(f"{part}: the logs hold different values; see {run / 'processes'}")
    largest = max(abs(one[key] - two[key]) for key in one if key[1].removeprefix("valid_") not in LOCAL)
    return Row(
        name=f"{part}: two processes against one, {steps} steps, {len(one)} values",
        value=largest,
        unit="largest",
        target=f"< {WITHIN:g}",
        met=largest < WITHIN,
    )


if __name__ == "__main__":
    raise SystemExit(main())
