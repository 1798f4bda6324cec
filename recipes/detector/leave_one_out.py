"""Keep each generator from training in turn, with its relatives, and meet it: the table of docs/detection.md.

    python recipes/detector/leave_one_out.py --corpus ../shared/corpus --cache runs/detector [--generators espeak ...]

Clips and windows are those of ``fusion.py``, from the same cache. About five minutes for each generator on one core.
What is done stands in ``CACHE/leave-one-out.json`` and is not done again.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from fusion import clips_of, windows_of

from evaluation.detector_fusion import PARTS as ALL_PARTS
from evaluation.detector_fusion import FusionPlan, features_of
from evaluation.detector_unmet import NEVER_SHOWN, PARTS, Fold, leave_out, macro

STEPS = {"mel_anew": 900, "fine_statistics": 2000}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"), help="folder with manifest.csv")
    parser.add_argument("--cache", type=Path, required=True, help="folder for clips, windows and results")
    parser.add_argument("--generations", type=Path, nargs="*", default=[], help="folders of generate --mode")
    parser.add_argument("--generators", nargs="*", default=list(NEVER_SHOWN))
    parser.add_argument("--windows", type=int, default=9000)
    parser.add_argument("--steps", type=float, default=1.0, help="of the usual training, a share")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    plan = FusionPlan(seed=arguments.seed, steps={name: max(1, int(arguments.steps * STEPS[name])) for name in PARTS})
    clips = clips_of(arguments)
    held = windows_of(arguments, clips, "held", 1200)
    shown = windows_of(arguments, clips, "train", arguments.windows)
    training, kept = (
        {name: features_of(windows, ALL_PARTS[name].features) for name in PARTS} for windows in (shown, held)
    )
    path = arguments.cache / "leave-one-out.json"
    folds = [_read(row) for row in json.loads(path.read_text())] if path.exists() else []
    for generator in arguments.generators:
        if generator not in {fold.generator for fold in folds}:
            folds.append(leave_out(generator, training, kept, held, clips, plan))
            path.write_text(json.dumps([_plain(fold) for fold in folds]))
            _tell(folds[-1])
    for name in folds[0].genuine:
        mean, low, high = macro(folds, name)
        worst = max(folds, key=lambda fold, name=name: fold.eer(name))
        print(
            f"{name}: macro {100 * mean:.1f} % [{100 * low:.1f}, {100 * high:.1f}], worst {worst.generator}"
            f" {100 * worst.eer(name):.0f} %, {len(folds)} generators"
        )


def _tell(fold: Fold) -> None:
    told = (f"{name} {100 * fold.eer(name):.0f} % ({100 * fold.caught(name):.0f} %)" for name in fold.genuine)
    print(f"{fold.generator}, {len(fold.synthetic_speakers)} clips: EER (caught at 1 %):", *told, flush=True)


def _plain(fold: Fold) -> dict:
    return json.loads(json.dumps(asdict(fold), default=np.ndarray.tolist))


def _read(row: dict) -> Fold:
    arrays = {key: {name: np.asarray(values) for name, values in row[key].items()} for key in ("genuine", "synthetic")}
    return Fold(**{**row, **arrays})


if __name__ == "__main__":
    main()
