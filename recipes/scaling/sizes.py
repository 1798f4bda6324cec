"""Three sizes of the coarse stage on equal tokens: how the held-out loss falls with size and with tokens.

    python recipes/scaling/sizes.py --model FOLDER --data ../shared/corpus/manifest.csv --out runs/sizes [--steps 160]

``--model`` is a training's folder with finished parts ``codec`` and ``semantic`` (and ``tokens``, which is filled where
it is not). Every size sees the same crops in the same order, starts from the codec's codebooks and has one rate
schedule. Prints, and writes as ``sizes.json``: weights without tables of codes, loss at each validation, the slopes of
straight lines through the logarithms, and the arithmetic counted for a step beside the rate it was done at. A size that
is finished in ``--out`` is not trained again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from audiolm.codebook_start import start_stage_from_codebooks
from audiolm.codec.soundstream import SoundStream
from audiolm.dataset import read_recordings
from audiolm.describe import stage_facts
from audiolm.optimisation import OptimiserConfig
from audiolm.semantic.tokenizer import load_tokenizer
from audiolm.stages import Stage, StageConfig, nano_stage
from audiolm.token_cache import tokenised
from audiolm.train_stages import StageTask, StageTraining, TokenisedUtterance
from audiolm.training import LoopConfig, train
from audiolm.training_log import read_log

SIZES = {"small": (2, 64), "middle": (3, 128), "large": (4, 256)}
"""Layers and width; heads of 32, feed-forward of twice the width or so, as nano has them."""
WINDOW = 200
TIMED_STEPS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder with parts codec and semantic")
    parser.add_argument("--data", type=Path, required=True, help="manifest, pack or folder, as audiolm-audit train")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=160, help="of each size (default: 160)")
    parser.add_argument("--batch", type=int, default=2, help="crops of 4 s per step (default: 2)")
    parser.add_argument("--max-seconds-per-speaker", type=float, default=300.0, help="cap, training split only")
    options = parser.parse_args()
    heard, held_out = (_tokens(options, split) for split in ("train", "dev"))
    rows = [_trained(name, options, heard, held_out) for name in SIZES]
    document = {"sizes": rows, "slopes": slopes(rows), "matrix_gflop_per_s": _matrix_rate() / 1e9}
    (options.out / "sizes.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    _print(document)


def slopes(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Least squares through log loss against log weights (at the last validation) and, for the largest, log tokens."""
    last = [(row["weights"], row["curve"][-1][1]) for row in rows]
    return {"weights": _slope(last), "tokens": _slope(rows[-1]["curve"])}


def _slope(points: list[tuple[float, float]]) -> float:
    """Of the line through the logarithms."""
    at, loss = np.log(np.array(points, dtype=np.float64)).T
    return float(np.polyfit(at, loss, 1)[0])


def _tokens(options: argparse.Namespace, split: str) -> list[TokenisedUtterance]:
    cap = options.max_seconds_per_speaker if split == "train" else None
    found = read_recordings(options.data, split=split, sample_rate_hz=16_000, max_seconds_per_speaker=cap)
    codec, semantic = (options.model / part / "export" for part in ("codec", "semantic"))
    return tokenised(found, codec, semantic, options.model / "tokens")


def _stage(name: str, options: argparse.Namespace) -> StageConfig:
    layers, dim = SIZES[name]
    n_semantic = load_tokenizer(options.model / "semantic" / "export").n_tokens
    nano = nano_stage("coarse", n_semantic=n_semantic)
    shape = replace(nano.transformer, layers=layers, dim=dim, heads=dim // 32, ff_dim=2 * dim)
    return replace(nano, transformer=shape, window=WINDOW)


def _trained(
    name: str, options: argparse.Namespace, heard: list[TokenisedUtterance], held_out: list[TokenisedUtterance]
) -> dict[str, Any]:
    """Train one size, or read what an earlier run left of it."""
    folder, config = options.out / name, _stage(name, options)
    training = StageTraining(
        optimiser=OptimiserConfig(steps=options.steps, learning_rate=1e-3, warmup_steps=options.steps // 8),
        batch=options.batch,
        validation_batches=8,
    )
    facts = stage_facts(config, training)
    codebooks = SoundStream.load(options.model / "codec" / "export").quantizer.codebooks

    def start(stage: Stage) -> None:
        start_stage_from_codebooks(stage, codebooks, torch.Generator().manual_seed(0))

    row = folder / "row.json"
    if not row.is_file():
        task = StageTask(heard, held_out, config, training, start=start)
        every = max(1, options.steps // 8)
        loop = LoopConfig(steps=options.steps, log_every=every, validate_every=every, save_every=every)
        train(task, folder, loop, resume=True)
        tables = task.model.embedding.weight.numel() + task.model.head.numel()
        step_s = _step_s(task, options.steps)
        found = {"size": name, "layers": config.transformer.layers, "width": config.transformer.dim}
        found |= {"parameters": facts.parameters, "weights": facts.parameters - tables, "cpu_s_per_step": step_s}
        found |= {"flops_per_step": facts.flops_per_step, "gflop_per_s": facts.flops_per_step / step_s / 1e9}
        row.write_text(json.dumps(found) + "\n", encoding="utf-8")
    log = [(step, value) for step, _, key, value in read_log(folder / "log.csv") if key == "valid_loss"]
    curve = [(step * facts.tokens_per_step, value) for step, value in log]
    return {**json.loads(row.read_text(encoding="utf-8")), "curve": curve}


def _step_s(task: StageTask, first: int) -> float:
    """Median processor seconds of a step, which other programs on the machine move less than wall seconds."""
    times = []
    for step in range(first, first + TIMED_STEPS):
        started = time.process_time()
        task.training_step(step)
        times.append(time.process_time() - started)
    return float(np.median(times))


def _matrix_rate(size: int = 1024) -> float:
    """Operations per processor second of a square float32 product."""
    one, two = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(8):
        started = time.process_time()
        torch.mm(one, two)
        best = min(best, time.process_time() - started)
    return 2 * size**3 / best


def _print(document: dict[str, Any]) -> None:
    rate = document["matrix_gflop_per_s"]
    print("| size | layers x width | weights without tables | loss at tokens | CPU s per step | share of matrix rate |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in document["sizes"]:
        curve = ", ".join(f"{loss:.3f} ({tokens / 1000:.0f} k)" for tokens, loss in row["curve"][1::2])
        print(
            f"| {row['size']} | {row['layers']} x {row['width']} | {row['weights']:,} | {curve} |"
            f" {row['cpu_s_per_step']:.2f} | {row['gflop_per_s'] / rate:.2f} |"
        )
    print(f"\nloss ~ weights^{document['slopes']['weights']:.4f}, tokens^{document['slopes']['tokens']:.4f}")
    print(f"matrix product: {rate:.0f} GFLOP per processor second, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
