"""Fit token evidence and the probe on speech features to a model, measure both on test speakers, write them.

    python recipes/detector/own_evidence.py --cache runs/detector [--generations FOLDER ...]

``--cache``: the clips of ``detect-train`` or of ``recipes/detector/fusion.py``. ``--generations``: run folders and
folders of ``generate --mode`` of this very model; without them its clips are made here. Run it again whenever a part
of the model changes: a detector that was fitted to other weights refuses to judge.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from detectors.labelled import LabelledClip
from evaluation.leave_out import read_clip_cache
from evaluation.own_evidence.detectors import PRETRAINED
from evaluation.own_evidence.evidence_clips import own_clips
from evaluation.own_evidence.generations import own_generations
from evaluation.own_evidence.probe_fitting import fit_probe
from evaluation.own_evidence.token_fitting import fit_tokens

MADE = {("continuation", "train"): 32, ("acoustic", "train"): 16, ("continuation", "held"): 16,
        ("acoustic", "held"): 8, ("continuation", "test"): 32, ("acoustic", "test"): 16}  # fmt: skip
"""Clips of the model that are made where none are given."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder with the clips of detect-train")
    parser.add_argument("--model", default="nano", help="preset or folder (default: %(default)s)")
    parser.add_argument("--generations", type=Path, nargs="*", default=[], help="folders with clips of this model")
    parser.add_argument("--work", type=Path, default=Path("runs/own-evidence"), help="what is slow is kept here")
    parser.add_argument("--out", type=Path, default=PRETRAINED, help="where both folders are written")
    parser.add_argument("--only", choices=("token_evidence", "ssl_probe"), help="fit one of the two")
    parser.add_argument(
        "--ssl-bundle", default="", metavar="NAME", help="probe a torchaudio bundle, its weights cached"
    )
    parser.add_argument(
        "--ssl-block", type=int, default=6, help="last block of the bundle to try (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _own(arguments: argparse.Namespace, clips: Sequence[LabelledClip]) -> list[LabelledClip]:
    recorded = [clip for clip in clips if clip.is_bona_fide and clip.condition == "raw"]
    if arguments.generations:
        return own_clips(arguments.generations, recorded, arguments.seed)
    from audiolm import AudioLM

    model = AudioLM.from_pretrained(arguments.model)
    return own_generations(model, recorded, MADE, arguments.work, arguments.seed)


def main() -> None:
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(1)
    clips = read_clip_cache(arguments.cache)
    arguments.work.mkdir(parents=True, exist_ok=True)
    own = _own(arguments, clips)
    written = {}
    if arguments.only != "ssl_probe":
        out = arguments.out / "token_evidence"
        written[out] = fit_tokens(arguments.model, clips, own, arguments.work, out, arguments.seed)
    if arguments.only != "token_evidence":
        out = arguments.out / "ssl_probe"
        written[out] = fit_probe(
            arguments.model, arguments.ssl_bundle, arguments.ssl_block, clips, own, arguments.work, out, arguments.seed
        )
    for out, config in written.items():
        pooled = ", ".join(f"{name} {value:.4f}" for name, value in config["training"]["test_pooled"].items())
        print(f"{out}: {pooled}")


if __name__ == "__main__":
    main()
