"""A language model of nano on a GPU until a time is over: the best held-out average is what is kept.

    python recipes/nano/lease/stages.py delayed --codes DIR --tokens OUT/tokens-1024.safetensors \\
        --tokenizer OUT/semantic-1024 --start PART_FOLDER --out OUT/delayed-1024 --seconds 300

Tasks, losses and sizes are the package's own; only rate and length follow the clock.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import ten_bits
import torch
from lease_record import record_of
from safetensors.numpy import load_file
from torch import Tensor, nn

from audiolm.delayed import DelayedStage
from audiolm.energy import EnergyMeter
from audiolm.optimisation import OptimiserConfig
from audiolm.row_dropout import RowDropout
from audiolm.runtime import Runtime
from audiolm.semantic.tokenizer import W2vBertTokenizer
from audiolm.stages import Stage
from audiolm.train_delayed import DelayedTask, DelayedTraining
from audiolm.train_stages import StageTask, StageTraining, TokenisedUtterance

DEV = 25
WARM_UP = 100


class ByTheClock:
    """An optimiser's configuration whose rate falls with the time that is left."""

    def __init__(self, config: OptimiserConfig, seconds: float) -> None:
        self.seconds, self.started = seconds, time.monotonic()
        self.clip_norm, self.ema_decay, self.learning_rate = config.clip_norm, config.ema_decay, config.learning_rate

    def share(self) -> float:
        return min(1.0, (time.monotonic() - self.started) / self.seconds)

    def rate_at(self, step: int) -> float:
        fall = 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * self.share()))
        return self.learning_rate * min(1.0, (step + 1) / WARM_UP) * fall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("delayed", "semantic", "coarse", "fine"))
    parser.add_argument("--codes", type=Path, required=True, help="folder of codes-*.npz")
    parser.add_argument(
        "--tokens", type=Path, help="semantic tokens; without, those of the fine stage's start are zeros"
    )
    parser.add_argument("--tokenizer", type=Path, help="whose centroids new tokens' embeddings begin with")
    parser.add_argument("--start", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--hide-frames", type=float, default=0.15)
    parser.add_argument("--ema-decay", type=float, default=0.999)
    parser.add_argument("--validate-every", type=int, default=250)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bf16-mixed")
    options = parser.parse_args()
    runtime = Runtime(device=options.device, precision=options.precision)
    meter = EnergyMeter(runtime.device)
    heard, held_out = utterances(options)
    task = make_task(options, heard, held_out, runtime)
    plain_dropout(task.model)
    task.optimiser.restart_average()
    record = run(task, options, meter)
    print(json.dumps(record), flush=True)


def utterances(options: argparse.Namespace) -> tuple[list[TokenisedUtterance], list[TokenisedUtterance]]:
    """Training utterances at all speeds, and the held-out ones, which come last."""
    codes: dict[int, np.ndarray] = {}
    for path in sorted(options.codes.glob("codes-*.npz")):
        codes |= ten_bits.unpacked(np.load(path))
    tokens = load_file(options.tokens) if options.tokens else {}
    found = []
    for index in range(len(codes)):
        row = tokens[str(index)] if tokens else np.zeros(codes[index].shape[1] // 2, np.int16)
        kept = min(len(row), codes[index].shape[1] // 2)
        found.append(TokenisedUtterance(row[:kept], codes[index][:, : 2 * kept]))
    usable = [item for item in found[:-DEV] if len(item.semantic) >= 5]
    return usable, found[-DEV:]


def make_task(
    options: argparse.Namespace, heard: list[TokenisedUtterance], held_out: list[TokenisedUtterance], runtime: Runtime
) -> Any:
    tokenizer = W2vBertTokenizer.load(options.tokenizer) if options.tokenizer else None
    centroids = tokenizer.clusters.centroids.float() if tokenizer else None
    optimiser = OptimiserConfig(steps=10**6, learning_rate=options.rate, ema_decay=options.ema_decay)
    if options.part == "delayed":
        first = DelayedStage.load(options.start)
        count = len(centroids) if centroids is not None else first.config.n_semantic
        transformer = replace(first.config.transformer, dropout=options.dropout)
        config = replace(first.config, n_semantic=count, transformer=transformer)
        training = DelayedTraining(
            optimiser=optimiser, batch=options.batch, hide_frames=options.hide_frames, validation_batches=2
        )
        return DelayedTask(heard, held_out, config, training, runtime, lambda model: begin(model, first, centroids))
    stage = Stage.load(options.start, options.part)
    count = len(centroids) if centroids is not None else stage.config.layout.n_semantic
    transformer = replace(stage.config.transformer, dropout=options.dropout)
    config = replace(stage.config, layout=replace(stage.config.layout, n_semantic=count), transformer=transformer)
    training = StageTraining(optimiser=optimiser, batch=options.batch, validation_batches=2)
    return StageTask(heard, held_out, config, training, runtime, lambda model: begin(model, stage, centroids))


@torch.no_grad()
def begin(model: Any, first: Any, centroids: Tensor | None) -> None:
    """Weights of ``first``; new semantic tokens from their centroids, with the mean and the spread of the old ones'.

    Tables that grow with the number of tokens keep their last rows (what is no token).
    """
    state, generator = model.state_dict(), torch.Generator().manual_seed(0)
    old = first.config.n_semantic if isinstance(first, DelayedStage) else first.config.layout.n_semantic
    for name, value in first.state_dict().items():
        if state[name].shape == value.shape:
            state[name] = value
            continue
        if centroids is None:
            raise ValueError(f"{name} has shape {list(value.shape)}, not {list(state[name].shape)}; give --tokenizer")
        rows = centroids @ torch.randn(centroids.shape[1], value.shape[1], generator=generator)
        spread = value[:old].std() / rows.std()
        state[name][: len(centroids)] = (rows - rows.mean(0)) * spread + value[:old].mean(0)
        if rest := len(value) - old:
            state[name][-rest:] = value[-rest:]
    model.load_state_dict(state)


def plain_dropout(module: nn.Module) -> None:
    """Dropout of whole batches in place of that of single rows, which is for steps that are the same in any parts."""
    for name, child in module.named_children():
        if isinstance(child, RowDropout):
            setattr(module, name, nn.Dropout(child.p))
        else:
            plain_dropout(child)


def run(task: Any, options: argparse.Namespace, meter: EnergyMeter) -> dict[str, Any]:
    clock = ByTheClock(task.training.optimiser, options.seconds)
    task.optimiser.config = clock
    best: dict[str, Any] = {}
    weights: dict[str, Tensor] = {}
    key = "coarse" if options.part == "delayed" else "loss"
    step, sums, counted = 0, 0.0, 0
    while True:
        done = clock.share() >= 1
        if done or step % options.validate_every == 0:
            found = task.validate()
            told = sums / max(1, counted)
            print(
                f"{options.out.name} {step} {time.monotonic() - clock.started:.0f} s train {told:.4f} {found}",
                flush=True,
            )
            sums, counted = 0.0, 0
            if not best or found[key] < best["value"]:
                best = {"step": step, "measure": key, "value": found[key], **found}
                weights = {name: value.detach().cpu().clone() for name, value in task.optimiser.exported().items()}
        if done:
            break
        losses = task.training_step(step)
        sums, counted = sums + losses[key], counted + 1
        step += 1
    names = ("batch", "rate", "dropout", "hide_frames", "ema_decay", "seconds")
    record = record_of(meter, step, best, {name: getattr(options, name) for name in names})
    task.model.cpu().save(options.out / "export", record, weights)
    return record


if __name__ == "__main__":
    main()
