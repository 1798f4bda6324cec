"""What this machine can do, by which the other rows are to be read: memory, torch's batch-1 linear, matrix product.

OMP_WAIT_POLICY=passive python -m tests.benchmarks.machine [--json]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import psutil
import torch
import torch.nn.functional as F

from tests.benchmarks.table import Row, finish, parser

MATRICES, WIDE, NARROW = 24, 4096, 1024
SIDE = 2048


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=7)
    args = arguments.parse_args(argv)
    with torch.inference_mode():
        return finish(measured(args.rounds), args.json)


def measured(rounds: int) -> list[Row]:
    busy = psutil.cpu_percent(interval=1.0) / 100 * (psutil.cpu_count() or 1)
    weights = torch.randn(MATRICES, WIDE, NARROW)
    gigabytes = weights.numel() * weights.element_size() / 1e9
    x, one, two = torch.randn(1, NARROW), torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)

    def linear() -> None:
        for matrix in weights:
            F.linear(x, matrix)

    return [
        Row(name="cores kept busy by others", value=busy, unit="cores"),
        Row(name="memory read (sum over 400 MB)", value=gigabytes / _median(weights.sum, rounds), unit="GB/s"),
        Row(name="torch linear at batch 1, weights read", value=gigabytes / _median(linear, rounds), unit="GB/s"),
        Row(
            name="matrix product 2048^3, float32",
            value=2e-9 * SIDE**3 / _median(lambda: torch.mm(one, two), rounds),
            unit="GFLOP/s",
        ),
    ]


def _median(function: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


if __name__ == "__main__":
    raise SystemExit(main())
