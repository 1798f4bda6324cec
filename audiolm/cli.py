"""``audiolm-audit train``: every part of an AudioLM from recordings, one part at a time or all in order.

Parts: codec, w2v-bert, semantic (k-means on w2v-BERT features), stage-semantic, stage-coarse, stage-fine,
stage-parallel, model (the parts put together, ready for from_pretrained); tokens fills the stages' token cache alone,
in as many processes as torchrun starts. A run that was killed, at any moment, goes on with --resume and
writes the log it would have written. Exit codes: 0 done, 2 bad input, 143 stopped by SIGTERM with the state saved.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["main"]

EXAMPLE = """\
examples:
  audiolm-audit train all --data ../shared/corpus/manifest.csv --out runs/nano --budget-minutes 60
  audiolm-audit train codec --data ../shared/corpus/manifest.csv --out runs/nano --resume
  torchrun --nproc-per-node 2 -m audiolm stage-coarse --data speech/ --out runs/base --preset base
  audiolm-audit train --describe --preset paper"""
STOPPED = 143


def main(argv: Sequence[str] | None = None) -> int:
    """Train the part named on the command line; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.describe:
        return _describe(options)
    if options.part is None or options.data is None or options.out is None:
        parser.error("give a part, --data and --out (or --describe)")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr, force=True)
    import torch

    from audiolm.recipe import finished, train_part

    if options.threads:
        torch.set_num_threads(options.threads)
    recipe = _recipe(options)
    for part in recipe.preset.parts if options.part == "all" else (options.part,):
        if options.part == "all" and options.resume and finished(part, recipe):
            logging.info("%s: finished before", part)
            continue
        record = train_part(part, recipe)
        if recipe.runtime.is_main:
            print(json.dumps({"part": part, **record}, sort_keys=True), flush=True)
        if not record["finished"]:
            logging.info("%s: stopped with its state saved; go on with --resume", part)
            return STOPPED
    return 0


def _recipe(options: argparse.Namespace) -> Any:
    from audiolm.presets import load_preset
    from audiolm.processes import runtime_for
    from audiolm.recipe import Recipe, read_recipe

    values: dict[str, Any] = read_recipe(options.recipe) if options.recipe else {}
    if options.preset or "preset" not in values:
        values["preset"] = load_preset(options.preset or "nano")
    values.setdefault("max_seconds_per_speaker", values["preset"].max_seconds_per_speaker)
    runtime = runtime_for(
        device=options.device, precision=options.precision, accumulate=options.accumulate, strategy=options.strategy
    )
    given = {f.name: getattr(options, f.name, None) for f in dataclasses.fields(Recipe) if f.name != "preset"}
    values |= {"runtime": runtime, **{name: value for name, value in given.items() if value is not None}}
    return Recipe(**values)


def _describe(options: argparse.Namespace) -> int:
    from audiolm.describe import describe_preset
    from audiolm.presets import load_preset

    preset = load_preset(options.preset or "nano")
    rows = [facts.as_row() for facts in describe_preset(preset)]
    if options.json:
        print(json.dumps({"preset": preset.name, "summary": preset.summary, "parts": rows}, indent=2))
        return 0
    print(f"{preset.name}: {preset.summary}\n")
    print(f"{'part':16}{'weights':>15}{'tokens/step':>13}{'FLOP/step':>12}{'steps':>11}{'FLOP':>12}")
    for row in rows:
        print(
            f"{row['part']:16}{row['parameters']:>15,}{row['tokens_per_step']:>13,}{row['flops_per_step']:>12.2e}"
            f"{row['steps']:>11,}{row['flops']:>12.2e}"
        )
    total, work = sum(row["parameters"] for row in rows), sum(row["flops"] for row in rows)
    print(f"{'together':16}{total:>15,}{'':>36}{work:>12.2e}")
    print("\nFLOP are estimates: matrix products and convolutions at full crops, three times the forward pass.")
    return 0


def _parser() -> argparse.ArgumentParser:
    from audiolm.presets import PRESETS
    from audiolm.processes import STRATEGIES
    from audiolm.recipe import PARTS, TOKENS
    from audiolm.runtime import PRECISIONS

    parser = argparse.ArgumentParser(
        prog="audiolm-audit train",
        description=__doc__,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("part", nargs="?", choices=(*PARTS, TOKENS, "all"), help="what to make; later parts read earlier ones")
    add("--data", type=Path, help="CSV manifest (utterance_id, path, split, speaker), pack, or folder of speakers")
    add("--out", type=Path, help="folder of the whole model, one sub-folder per part")
    add("--preset", choices=tuple(PRESETS), help="sizes (default: nano, or the recipe's)")
    add("--recipe", type=Path, help="TOML file with a preset and settings per part, such as recipes/nano/nano.toml")
    add("--describe", action="store_true", help="print weights, tokens per step and arithmetic of the preset, and stop")
    add("--json", action="store_true", help="with --describe: as JSON")
    length = parser.add_argument_group("length")
    length.add_argument("--steps", type=_positive_int, help="optimiser steps of each part (default: the preset's)")
    length.add_argument("--minutes", type=_positive, help="stop each part after this much wall time")
    length.add_argument(
        "--budget-minutes", type=_positive, help="of all parts together: steps are measured and set to fill it"
    )
    length.add_argument("--resume", action="store_true", help="continue the exact loss curve of a stopped run")
    length.add_argument("--seed", type=int, help="of weights, batches and masks (default: 0, or the recipe's)")
    length.add_argument("--log-every", type=_positive_int, default=20, help="steps between log rows (default: 20)")
    length.add_argument(
        "--validate-every", type=_positive_int, default=500, help="steps between held-out measures (default: 500)"
    )
    length.add_argument("--save-every", type=_positive_int, default=500, help="steps between states (default: 500)")
    _add_machine(parser, STRATEGIES, PRECISIONS)
    data = parser.add_argument_group("data")
    data.add_argument("--max-seconds-per-speaker", type=_positive, help="cap speakers that would outweigh the others")
    data.add_argument("--semantic-bundle", help="cluster a torchaudio bundle such as HUBERT_BASE, not our w2v-BERT")
    data.add_argument("--bundle-layer", type=_positive_int, help="its transformer block (default: 9)")
    return parser


def _add_machine(parser: argparse.ArgumentParser, strategies: Sequence[str], precisions: Sequence[str]) -> None:
    machine = parser.add_argument_group("machine")
    machine.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu or cuda")
    machine.add_argument("--precision", choices=precisions, default="32", help="of matrix products (default: 32)")
    machine.add_argument("--accumulate", type=_positive_int, default=1, help="parts a process cuts its batch into")
    machine.add_argument("--strategy", choices=strategies, default="ddp", help="of several processes (torchrun)")
    machine.add_argument("--threads", type=_positive_int, help="CPU threads (default: all cores)")


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def _positive_int(text: str) -> int:
    return int(_positive(str(int(text))))
