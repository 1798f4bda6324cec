"""A short training run with planted canaries, and the curve of what comes back: python -m recipes.canaries.run --json

A small semantic stage learns background token sequences (a tokenizer's tokens of a manifest's training split, or
sequences of a random source where no manifest is given) among which canaries stand 1, 4, 16 and 64 times.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from audiolm.sampling import StageSampling
from audiolm.stages import Stage, StageConfig
from audiolm.tokens import Layout
from audiolm.transformer import TransformerConfig
from evaluation.memorisation.canaries import CurvePoint, extraction_curve, make_canaries
from evaluation.memorisation.token_runs import collapse

REPETITIONS = (1, 4, 16, 64)
LENGTH, PREFIX = 40, 10
NOTHING = np.zeros(0, dtype=np.int64)


def background_of(manifest: Path, limit: int) -> tuple[list[np.ndarray], int]:
    """De-duplicated semantic tokens of training utterances, and the size of their vocabulary."""
    from audiolm.audio import AudioClip
    from evaluation.discovery import discover_generators
    from evaluation.generators.audiolm import AudioLMGenerator
    from evaluation.manifest import read_utterances

    system = discover_generators()["audiolm"].load("nano", "cpu")
    if not isinstance(system, AudioLMGenerator):
        raise ValueError("the shipped system does not show its tokens")
    found = []
    for one in read_utterances(manifest, split="train", limit=limit):
        clip = AudioClip.from_file(one.audio_path, duration_s=8.0).at_rate(16_000)
        found.append(collapse(system.semantic_tokens(clip.samples)))
    return [tokens for tokens in found if len(tokens) > LENGTH], system.n_semantic_tokens


def random_background(count: int, n_tokens: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Sequences of a source with twenty likely followers per token."""
    followers = np.stack([generator.permutation(n_tokens)[:20] for _ in range(n_tokens)])
    made = []
    for _ in range(count):
        tokens = [int(generator.integers(n_tokens))]
        while len(tokens) < 2 * LENGTH:
            tokens.append(int(followers[tokens[-1], int(generator.integers(20))]))
        made.append(np.array(tokens, dtype=np.int64))
    return made


def train(sequences: list[np.ndarray], n_tokens: int, steps: int, seed: int) -> Stage:
    """A stage of two layers on crops of ``LENGTH`` tokens, drawn evenly over sequences."""
    torch.manual_seed(seed)
    layout = Layout(kind="semantic", n_semantic=n_tokens)
    network = TransformerConfig(layers=2, heads=4, dim=128, ff_dim=256, dropout=0.0, positions="rope", norm="rms")
    stage = Stage(StageConfig(layout=layout, transformer=network, window=2 * LENGTH)).train()
    optimiser = torch.optim.AdamW(stage.parameters(), lr=2e-3, weight_decay=0.01)
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        rows = []
        for place in generator.integers(len(sequences), size=16):
            tokens = sequences[int(place)]
            start = int(generator.integers(len(tokens) - LENGTH + 1))
            rows.append(tokens[None, start : start + LENGTH])
        loss = stage.loss(stage.batch([NOTHING] * len(rows), rows, [False] * len(rows))).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(stage.parameters(), 1.0)
        optimiser.step()
    return stage.eval()


def curve(stage: Stage, planted: list[tuple[np.ndarray, int]], unplanted: list[np.ndarray]) -> list[CurvePoint]:
    """Extraction by the stage's likeliest tokens."""
    likeliest = StageSampling(temperature=1.0, top_k=1)

    def go_on(start: np.ndarray, count: int) -> np.ndarray:
        generator = torch.Generator().manual_seed(0)
        return stage.sample([NOTHING], [start[None]], [count], likeliest, [generator])[0][0]

    def nats(canary: np.ndarray) -> float:
        return float(stage.nats(NOTHING, canary[None])[0, PREFIX:].sum())

    return extraction_curve(planted, unplanted, prefix=PREFIX, go_on=go_on, nats=nats)


def run(manifest: Path | None, *, limit: int = 80, steps: int = 500, each: int = 4, seed: int = 0) -> list[CurvePoint]:
    """Plant, train, ask. ``each`` canaries per number of repetitions, and four times as many unplanted ones."""
    generator = np.random.default_rng(seed)
    if manifest is None:
        background, n_tokens = random_background(limit, 100, generator), 100
    else:
        background, n_tokens = background_of(manifest, limit)
    canaries = make_canaries(each * (len(REPETITIONS) + 4), LENGTH, background, generator)
    counts = [count for count in REPETITIONS for _ in range(each)]
    planted = list(zip(canaries[: len(counts)], counts, strict=True))
    sequences = background + [canary for canary, count in planted for _ in range(count)]
    return curve(train(sequences, n_tokens, steps, seed), planted, canaries[len(counts) :])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--manifest", type=Path, help="training utterances; without it a random source")
    parser.add_argument("--limit", type=int, default=80, help="background sequences (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=500, help="training steps (default: %(default)s)")
    parser.add_argument("--each", type=int, default=4, help="canaries per repetition count (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same curve (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the curve as JSON")
    args = parser.parse_args()
    points = run(args.manifest, limit=args.limit, steps=args.steps, each=args.each, seed=args.seed)
    if args.json:
        print(json.dumps([asdict(point) for point in points]))
        return 0
    for p in points:
        print(
            f"{p.repetitions:>3} times: {p.matched:.2f} of tokens right, {p.extracted:.2f} extracted"
            f" (at most {p.extracted_upper:.2f}), exposure {p.exposure_bit:.1f} bit, {p.n_canaries} canaries"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
