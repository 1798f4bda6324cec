"""One training step (forward, backward, AdamW) at batch 4 x 512 beside Hugging Face's Llama of equal size.

    OMP_WAIT_POLICY=passive python -m tests.benchmarks.train_step [--sizes 6x512,paper] [--rounds 2] [--json]

Utilisation counts 6 x matrix weights x tokens + 12 x layers x tokens x length x width (the peer's count) against a
2048^3 float32 product in the same process. Peak memory is that of a process of its own, which takes two steps.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from audiolm.stages import Stage
from tests.benchmarks.language_models import BASE, CODES, PAPER, Size, hugging_face, stage
from tests.benchmarks.table import Row, compared, finish, parser, peak_mib

SIZES = {"6x512": BASE, "paper": PAPER}
BATCH, LENGTH = 4, 512
CONDITION, FRAMES = 130, 95
"""Semantic tokens and coarse frames: 1 + 130 + 1 + 4 x 95 = 512 positions."""
MEMORY_LIMIT_GIB = 5.3


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--sizes", default="6x512,paper")
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument("--no-memory", action="store_true")
    arguments.add_argument("--peak-of", default="", help="SIZE:MODEL; two steps, then print the peak memory in GiB")
    args = arguments.parse_args(argv)
    torch.manual_seed(0)
    if args.peak_of:
        size, model = args.peak_of.split(":")
        step = _steps(SIZES[size])[model]()
        step()
        step()
        print(peak_mib() / 1024)
        return 0
    rows: list[Row] = []
    for size in args.sizes.split(","):
        rows += speed(size, args.rounds)
        rows += [] if args.no_memory else memory(size)
    return finish(rows, args.json)


def speed(name: str, rounds: int) -> list[Row]:
    """Seconds per step and share of the matrix product's rate; the best round of each, since steps are long."""
    size = SIZES[name]
    steps = {model: made() for model, made in _steps(size).items()}
    times: dict[str, list[float]] = {model: [] for model in (*steps, "gemm")}
    for _ in range(rounds + 1):
        for model, step in steps.items():
            times[model].append(_timed(step))
        times["gemm"].append(_gemm())
    best = {model: min(values[1:]) for model, values in times.items()}
    peak = 2 * 2048**3 / best["gemm"]
    work = _operations(size)
    rows = [compared(f"train step, {name}, 4 x 512", best["ours"], "s", "Llama", best["llama"], at_most=1.0)]
    rows += [
        Row(name=f"share of GEMM rate, {name}, {model}", value=work / best[model] / peak, unit="")
        for model in ("ours", "llama")
    ]
    return rows


def memory(name: str) -> list[Row]:
    rows = []
    for model in ("ours", "llama"):
        command = [sys.executable, "-m", "tests.benchmarks.train_step", "--peak-of", f"{name}:{model}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ})
        peak = float(done.stdout)
        bound = name == "paper" and model == "ours"
        rows.append(
            Row(
                name=f"train step, {name}, peak memory, {model}",
                value=peak,
                unit="GiB",
                target=f"<= {MEMORY_LIMIT_GIB} GiB" if bound else "",
                met=peak <= MEMORY_LIMIT_GIB if bound else None,
            )
        )
    return rows


def _steps(size: Size) -> dict[str, Callable[[], Callable[[], None]]]:
    return {"ours": lambda: _ours(size), "llama": lambda: _llama(size)}


def _ours(size: Size) -> Callable[[], None]:
    model: Stage = stage(size).train()
    rng = np.random.default_rng(0)
    conditions = [rng.integers(0, 1024, CONDITION) for _ in range(BATCH)]
    targets = [rng.integers(0, CODES, (4, FRAMES)) for _ in range(BATCH)]
    batch = model.batch(conditions, targets, [False] * BATCH)
    optimiser = _adam(model)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        model.loss(batch).loss.backward()
        optimiser.step()

    return step


def _llama(size: Size) -> Callable[[], None]:
    model = hugging_face("llama", size).train()
    ids = torch.randint(CODES, (BATCH, LENGTH))
    optimiser = _adam(model)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimiser.step()

    return step


def _adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)


def _operations(size: Size) -> float:
    layers, _, dim, _ = size
    tokens = BATCH * LENGTH
    return 6 * layers * 12 * dim**2 * tokens + 12 * layers * tokens * LENGTH * dim


def _gemm() -> float:
    one, two = torch.randn(2048, 2048), torch.randn(2048, 2048)
    torch.mm(one, two)
    return min(_timed(lambda: torch.mm(one, two)) for _ in range(5))


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(main())
