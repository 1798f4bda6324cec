"""Decoding speed of the paper-size stage beside Hugging Face's decoders, weights in fewer bits, 10 s of coarse tokens.

    OMP_WAIT_POLICY=passive python -m tests.benchmarks.decode [--parts start,long,batch,precision,ten] [--json]

Random weights, float32 unless said; all that is compared takes turns, token by token, in one process. Needs the
``bench`` extra (transformers) for ``start`` and ``long``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from audiolm.precision import Precision, check_precision
from audiolm.sampling import StageSampling
from audiolm.stages import Stage
from tests.benchmarks.language_models import BASE, PAPER, hugging_face, hugging_face_token, our_token, stage
from tests.benchmarks.table import Row, alternate, compared, finish, parser

ROUNDS = 30
CONDITION, COARSE_FRAMES = 250, 500
"""Semantic tokens and coarse frames of ten seconds; four levels make 2,000 coarse tokens."""


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--parts", default="start,long,batch,precision,ten")
    arguments.add_argument("--rounds", type=int, default=ROUNDS)
    arguments.add_argument("--sizes", default="6x512,paper", help="of part ten")
    arguments.add_argument("--precisions", default="", help="of part ten; empty for all that this processor has")
    args = arguments.parse_args(argv)
    torch.manual_seed(0)
    parts: dict[str, Callable[[int], list[Row]]] = {
        "start": from_the_start,
        "long": after_two_thousand,
        "batch": batched,
        "precision": in_fewer_bits,
        "ten": lambda rounds: [row for size in args.sizes.split(",") for row in ten_seconds(size, args.precisions)],
    }
    rows: list[Row] = []
    with torch.inference_mode():
        for part in args.parts.split(","):
            made = parts[part](args.rounds)
            rows += made
            if not args.json:
                finish(made, as_json=False)
    return finish(rows, as_json=True) if args.json else 0


def linear_limit(model: Stage) -> Callable[[], None]:
    """Every matrix of ``model`` once at batch 1 through torch's own linear layer: what it can do over these bytes."""
    matrices = [module.weight for module in model.transformer.modules() if isinstance(module, nn.Linear)]
    matrices.append(model.head[model.config.layout.head_rows(0)])
    inputs = {width: torch.randn(1, width) for width in {matrix.shape[1] for matrix in matrices}}

    def once() -> None:
        for matrix in matrices:
            F.linear(inputs[matrix.shape[1]], matrix)

    return once


def from_the_start(rounds: int) -> list[Row]:
    ours = stage(PAPER)
    timed = alternate(
        {
            "ours": our_token(ours, 0),
            "limit": linear_limit(ours),
            "llama": hugging_face_token(hugging_face("llama", PAPER), 0),
        },
        rounds,
    )
    speed = {name: 1 / seconds for name, seconds in timed.items()}
    return [
        compared(
            "decode, paper size, from the start", speed["ours"], "tokens/s", "Llama", speed["llama"], at_least=1.25
        ),
        compared("the same", speed["ours"], "tokens/s", "torch linear", speed["limit"], at_least=0.9),
    ]


def after_two_thousand(rounds: int) -> list[Row]:
    ours = stage(PAPER)
    timed = alternate(
        {
            "ours": our_token(ours, 2000),
            "at 100": our_token(ours, 100),
            "gpt2": hugging_face_token(hugging_face("gpt2", PAPER), 2000),
        },
        rounds,
    )
    speed = {name: 1 / seconds for name, seconds in timed.items()}
    return [
        compared("decode, paper size, after 2,000", speed["ours"], "tokens/s", "GPT-2", speed["gpt2"], at_least=1.6),
        compared("time per token after 2,000", timed["ours"] * 1e3, "ms", "at 100", timed["at 100"] * 1e3, at_most=1.5),
    ]


def batched(rounds: int) -> list[Row]:
    ours = stage(PAPER)
    timed = alternate({"one": our_token(ours, 0), "eight": our_token(ours, 0, 8)}, rounds)
    rows = [compared("batch 8, paper size", 8 / timed["eight"], "tokens/s", "batch 1", 1 / timed["one"], at_least=5)]
    for precision in _reduced():
        less = stage(PAPER, precision)
        timed = alternate({"one": our_token(less, 0), "eight": our_token(less, 0, 8)}, rounds)
        rows.append(
            compared(f"batch 8, paper size, {precision}", 8 / timed["eight"], "tokens/s", "batch 1", 1 / timed["one"])
        )
    return rows


def in_fewer_bits(rounds: int) -> list[Row]:
    models = {"float32": stage(PAPER), **{precision: stage(PAPER, precision) for precision in _reduced()}}
    rows = []
    for cached in (0, 2000):
        timed = alternate({name: our_token(model, cached) for name, model in models.items()}, rounds)
        for name in _reduced():
            bound = 1.8 if name == "int8" and cached == 0 else 0.0
            rows.append(
                compared(
                    f"{name}, paper size, after {cached}",
                    1 / timed[name],
                    "tokens/s",
                    "float32",
                    1 / timed["float32"],
                    at_least=bound,
                )
            )
    return rows


def ten_seconds(size: str, precisions: str = "") -> list[Row]:
    """10 s of coarse tokens after 250 semantic ones, the whole run, from ids to ids."""
    bound = {"6x512": 20.0, "paper": 90.0}[size]
    rows = []
    every: list[Precision] = ["float32", *_reduced()]
    for precision in every:
        if precisions and precision not in precisions.split(","):
            continue
        model = stage({"6x512": BASE, "paper": PAPER}[size], precision)
        seconds = _run(model, COARSE_FRAMES)
        rows.append(
            Row(
                name=f"10 s of coarse tokens, {size}, {precision}",
                value=seconds,
                unit="s",
                target=f"< {bound:g} s",
                met=seconds < bound,
            )
        )
    return rows


def _run(model: Stage, frames: int) -> float:
    condition = np.random.default_rng(0).integers(0, 1024, CONDITION)
    nothing = np.zeros((model.config.layout.target_levels, 0), dtype=np.int64)
    options, generator = StageSampling(temperature=0.8), torch.Generator().manual_seed(0)
    model.sample([condition], [nothing], [2], options, [generator])
    start = time.perf_counter()
    model.sample([condition], [nothing], [frames], options, [generator])
    return time.perf_counter() - start


def _reduced() -> list[Precision]:
    names: list[Precision] = []
    for name in ("bfloat16", "int8"):
        try:
            check_precision(name, "cpu")
        except ValueError:
            continue
        names.append(name)
    return names


if __name__ == "__main__":
    raise SystemExit(main())
