"""``audiolm-audit train``: every part of an AudioLM from a manifest, one part at a time or all in order.

Parts: codec, w2v-bert, semantic (k-means on w2v-BERT features), stage-semantic, stage-coarse, stage-fine, model
(the parts put together, ready for from_pretrained).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["main"]

EXAMPLE = "audiolm-audit train all --data ../shared/corpus/manifest.csv --out runs/nano --minutes 10"


def main(argv: Sequence[str] | None = None) -> int:
    """Train the part named on the command line; returns the exit code."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr, force=True)
    import torch

    from audiolm.recipe import PARTS, Recipe, train_part

    if options.threads:
        torch.set_num_threads(options.threads)
    recipe = Recipe(
        data=options.data,
        out=options.out,
        steps=options.steps,
        minutes=options.minutes,
        resume=options.resume,
        seed=options.seed,
        max_seconds_per_speaker=options.max_seconds_per_speaker,
    )
    parts = PARTS if options.part == "all" else (options.part,)
    for part in parts:
        print(json.dumps({"part": part, **train_part(part, recipe)}, sort_keys=True), flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    from audiolm.recipe import PARTS

    parser = argparse.ArgumentParser(
        prog="audiolm-audit train",
        description=__doc__,
        epilog=f"example:\n  {EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("part", choices=(*PARTS, "all"), help="what to train; later parts read earlier ones")
    parser.add_argument("--data", type=Path, required=True, help="CSV manifest with utterance_id, path, split, speaker")
    parser.add_argument("--out", type=Path, required=True, help="folder of the whole model, one sub-folder per part")
    parser.add_argument("--steps", type=_positive_int, help="optimiser steps (default: the preset's)")
    parser.add_argument("--minutes", type=_positive, help="stop each part after this much wall time")
    parser.add_argument("--resume", action="store_true", help="continue the exact loss curve of a stopped run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=_positive_int, help="CPU threads (default: all cores)")
    parser.add_argument(
        "--max-seconds-per-speaker", type=_positive, default=300.0, help="cap speakers that would outweigh the others"
    )
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _positive_int(text: str) -> int:
    return int(_positive(str(int(text))))
