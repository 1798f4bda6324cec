"""Tiny tasks of every kind for the training tests; under torchrun a script that trains them in several processes.

``torchrun --nproc-per-node 2 tests/training_tasks.py MODE PATH``. ``curves``: 20 steps of each task under ddp and fsdp,
loss curves as JSON; ``stage``: of the stage alone; ``resize``: go on with a run of one process, and leave runs to go on
with; ``elastic``: a run in which process 1 kills itself once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from audiolm.codec import CodecConfig
from audiolm.dataset import Recording
from audiolm.delayed import DelayedConfig
from audiolm.optimisation import OptimiserConfig
from audiolm.parallel import ParallelConfig
from audiolm.runtime import Runtime
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.quantizer import QuantizerConfig
from audiolm.semantic.w2v_bert import W2vBertConfig
from audiolm.stages import StageConfig
from audiolm.tokens import Layout
from audiolm.train_codec import CodecTask, CodecTrainingConfig
from audiolm.train_delayed import DelayedTask, DelayedTraining
from audiolm.train_parallel import ParallelTask, ParallelTraining
from audiolm.train_semantic import W2vBertTask, W2vBertTraining
from audiolm.train_stages import StageTask, StageTraining, TokenisedUtterance
from audiolm.training import LoopConfig, train
from audiolm.transformer import TransformerConfig

STEPS = 20
LOOP = LoopConfig(steps=STEPS, log_every=1, validate_every=10, save_every=4)
HALF = LoopConfig(steps=STEPS // 2, log_every=1, validate_every=10, save_every=4)
"""Where a run is left that another number of processes goes on with."""
KILLED_AT = 13
OPTIMISER = OptimiserConfig(steps=STEPS, learning_rate=1e-3, warmup_steps=3)
CODEC = CodecConfig(
    front_end="spectral",
    latent_dim=8,
    n_levels=2,
    codebook_size=16,
    encoder_channels=(16, 16),
    decoder_channels=(16, 16),
    encoder_units=(1, 1),
    decoder_units=(1, 1),
)
STACK = ConformerConfig(dim=16, heads=2, layers=1, dropout=0.1)
W2V_BERT = W2vBertConfig(contrastive=STACK, masked=STACK, quantizer=QuantizerConfig(codes=8), channels=4, mask_span=4)
TRANSFORMER = TransformerConfig(
    layers=2, heads=2, dim=16, ff_dim=32, dropout=0.1, positions="rope", norm="rms", feed_forward="gated"
)


def recordings(count: int = 3) -> list[Recording]:
    """Tones with a little noise, 1.5 s each."""
    rng = np.random.default_rng(0)
    time_s = np.arange(24_000) / 16_000
    return [
        Recording(
            f"u{index}",
            f"s{index}",
            (0.3 * np.sin(2 * np.pi * (200 + 90 * index) * time_s) + 0.01 * rng.normal(size=24_000)).astype(np.float32),
        )
        for index in range(count)
    ]


def codec_task(runtime: Runtime | None = None, *, quantize_from: int = 4) -> CodecTask:
    training = CodecTrainingConfig(
        optimiser=OPTIMISER, batch=4, seconds=0.2, quantize_from=quantize_from, start_seconds=20
    )
    return CodecTask(CODEC, training, recordings(), recordings(1), runtime=runtime)


def w2v_bert_task(runtime: Runtime | None = None) -> W2vBertTask:
    waves = [item.samples[: 9_600 + 4_000 * index] for index, item in enumerate(recordings())]
    training = W2vBertTraining(optimiser=OPTIMISER, batch=4, crop_s=1.0, validation_crops=4)
    return W2vBertTask(waves, waves[:1], W2V_BERT, training, runtime)


def utterances(count: int, seed: int = 0) -> list[TokenisedUtterance]:
    rng = np.random.default_rng(seed)
    lengths = [int(rng.integers(8, 20)) for _ in range(count)]
    return [
        TokenisedUtterance(rng.integers(0, 6, n).astype(np.int64), rng.integers(0, 5, (4, 2 * n)).astype(np.int64))
        for n in lengths
    ]


def stage_task(runtime: Runtime | None = None) -> StageTask:
    layout = Layout(kind="coarse", n_semantic=6, n_coarse=2, n_fine=2, codebook_size=5, time_positions=True)
    config = StageConfig(layout=layout, transformer=TRANSFORMER, window=24, aligned=True)
    training = StageTraining(optimiser=OPTIMISER, batch=4, validation_batches=1)
    return StageTask(utterances(6), utterances(2, seed=1), config, training, runtime)


def parallel_task(runtime: Runtime | None = None) -> ParallelTask:
    config = ParallelConfig(
        n_semantic=6, n_coarse=2, n_levels=4, codebook_size=5, code_dim=4, window=24, conformer=STACK
    )
    training = ParallelTraining(optimiser=OPTIMISER, batch=4, validation_batches=1)
    return ParallelTask(utterances(6), utterances(2, seed=1), config, training, runtime)


def delayed_task(runtime: Runtime | None = None) -> DelayedTask:
    config = DelayedConfig(n_semantic=6, n_coarse=2, n_levels=4, codebook_size=5, window=24, transformer=TRANSFORMER)
    training = DelayedTraining(optimiser=OPTIMISER, batch=4, validation_batches=1)
    return DelayedTask(utterances(6), utterances(2, seed=1), config, training, runtime)


def curve(task: Any) -> list[dict[str, float]]:
    """The logged values of every step, then the validation."""
    return [*(task.training_step(step) for step in range(STEPS)), task.validate()]


def fabric(strategy: str) -> Runtime:
    from audiolm.processes import FabricRuntime

    return FabricRuntime(device="cpu", precision="32", accumulate=1, strategy=strategy)


def write_curves(out: Path) -> None:
    ddp, fsdp = fabric("ddp"), fabric("fsdp")
    curves = {
        "stage": curve(stage_task(ddp)),
        "w2v_bert": curve(w2v_bert_task(ddp)),
        "codec": curve(codec_task(ddp, quantize_from=0)),
        "parallel": curve(parallel_task(ddp)),
        "delayed": curve(delayed_task(ddp)),
        "stage fsdp": curve(stage_task(fsdp)),
        "w2v_bert fsdp": curve(w2v_bert_task(fsdp)),
        "parallel fsdp": curve(parallel_task(fsdp)),
    }
    if ddp.is_main:
        out.write_text(json.dumps(curves), encoding="utf-8")


def write_stage_curve(out: Path) -> None:
    runtime = fabric("ddp")
    curves = {"stage": curve(stage_task(runtime)), "stage fsdp": curve(stage_task(fabric("fsdp")))}
    if runtime.is_main:
        out.write_text(json.dumps(curves), encoding="utf-8")


def resize(folder: Path) -> None:
    """Runs of one process are gone on with by several, and the other way round; one undisturbed run."""
    for strategy in ("ddp", "fsdp"):
        runtime = fabric(strategy)
        train(stage_task(runtime), folder / f"one-{strategy}", LOOP, resume=True, runtime=runtime)
        train(stage_task(runtime), folder / f"{strategy}-one", HALF, runtime=runtime)
    runtime = fabric("ddp")
    train(stage_task(runtime), folder / "whole", LOOP, runtime=runtime)


def elastic(folder: Path) -> None:
    """Train with ``resume``; process 1 dies by SIGKILL before step 13, the first time."""
    runtime = fabric("ddp")
    task = stage_task(runtime)
    step, once = task.training_step, folder / "killed"

    def dying(number: int) -> dict[str, float]:
        if number == KILLED_AT and runtime.rank == 1 and not once.exists():
            once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return step(number)

    task.training_step = dying  # type: ignore[method-assign]
    train(task, folder, LOOP, resume=True, runtime=runtime)


MODES = {"curves": write_curves, "stage": write_stage_curve, "resize": resize, "elastic": elastic}

if __name__ == "__main__":
    MODES[sys.argv[1]](Path(sys.argv[2]))
