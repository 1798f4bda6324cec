"""Peak memory and time of a paper-size coarse stage that draws 2,000 tokens, against its weights and its cache.

    python -m tests.benchmarks.memory [--frames 500] [--json]

What Python and torch take by themselves is measured first, with a tiny stage that has sampled once, and left out.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import psutil
import torch

from audiolm.sampling import StageSampling
from audiolm.stages import Stage
from tests.benchmarks.language_models import PAPER, Size, stage
from tests.benchmarks.table import Row, compared, finish, parser, peak_mib

CONDITION = 250
TINY = Size(1, 2, 32, 85)
WHOLE_FRAMES, LIMIT_S = 500, 90.0
"""Ten seconds, and how long they may take."""
MIB = 2.0**20


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--frames", type=int, default=500, help="coarse frames of four tokens")
    args = arguments.parse_args(argv)
    torch.manual_seed(0)
    _draw(stage(TINY), 2)
    own = psutil.Process().memory_info().rss / MIB
    model = stage(PAPER)
    weights = sum(weight.numel() * weight.element_size() for weight in model.parameters()) / MIB
    start = time.perf_counter()
    _draw(model, args.frames)
    took = time.perf_counter() - start
    peak = peak_mib() - own
    tokens = CONDITION + 2 + 4 * args.frames - 1
    cache = 2 * 4 * PAPER.layers * PAPER.dim * tokens / MIB
    rows = [
        Row(name="paper-size coarse stage, weights", value=weights, unit="MiB"),
        Row(name=f"its cache of {tokens} tokens", value=cache, unit="MiB"),
        Row(name="Python and torch alone (left out below)", value=own, unit="MiB"),
        compared(
            f"peak while drawing {4 * args.frames} tokens",
            peak,
            "MiB",
            "weights + cache",
            weights + cache,
            at_most=1.15,
        ),
        Row(
            name=f"{4 * args.frames} coarse tokens, paper size, float32",
            value=took,
            unit="s",
            target=f"< {LIMIT_S:g} s" if args.frames == WHOLE_FRAMES else "",
            met=took < LIMIT_S if args.frames == WHOLE_FRAMES else None,
        ),
    ]
    return finish(rows, args.json)


def _draw(model: Stage, frames: int) -> None:
    condition = np.random.default_rng(0).integers(0, 1024, CONDITION)
    nothing = np.zeros((model.config.layout.target_levels, 0), dtype=np.int64)
    generator = torch.Generator().manual_seed(0)
    model.sample([condition], [nothing], [frames], StageSampling(temperature=0.8), [generator])


if __name__ == "__main__":
    raise SystemExit(main())
