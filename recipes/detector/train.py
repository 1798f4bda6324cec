"""Build the training data, train the log-mel detector, calibrate it, measure it, and write it to the package.

    python recipes/detector/train.py --corpus ../shared/corpus --cache /tmp/detector [--generations RUN_FOLDER ...]

Everything follows from the seed. With ``--generations`` (run folders that ``audiolm-audit generate`` made from the
corpus), our own model's output joins the synthetic class, and recordings through its codec the bona fide class.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from detectors.artefacts import write_artefact
from detectors.assessment import (
    ScoredClip,
    calibrate,
    error_table,
    pooled_measures,
    reference_rows,
    rows_as_dicts,
    score_clips,
)
from detectors.calibration import Calibration
from detectors.error_rates import bayes_threshold
from detectors.labelled import LabelledClip, count_clips
from detectors.mel_cnn import REFERENCE_SCORES, SHIPPED, MelCnnDetector
from detectors.model_card import model_card
from detectors.networks.mel_cnn import MelCnn
from detectors.training import TrainConfig, fit
from evaluation.detector_data import DataSizes, build_clips, noise_recordings
from recipes.detector.codecs import codecs

logger = logging.getLogger("recipes.detector")
IDENTITY = Calibration(scale=1.0, offset=0.0, independent_bona=1, independent_synth=1)
BASE_CONFIG: dict[str, Any] = {
    "version": "0",
    "polarity": "higher = more likely bona fide",
    "unit": "natural-log likelihood ratio of bona fide against synthetic, in nats",
    "threshold_llr": bayes_threshold(),
    "threshold_source": "Bayes threshold of ASVspoof 5: share of synthetic 0.05, miss costs 1, false alarm 10",
}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"), help="folder with manifest.csv")
    parser.add_argument("--cache", type=Path, required=True, help="folder for clips and training state")
    parser.add_argument("--generations", type=Path, nargs="*", default=[], help="run folders of our own model")
    parser.add_argument(
        "--codecs", nargs="*", default=[], metavar="NAME=FOLDER", help="other codecs of ours, synthetic"
    )
    parser.add_argument("--leave-out", default="", help="generator kept out of training and calibration, for a test")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where the detector is written")
    parser.add_argument("--share", type=float, default=1.0, help="share of the usual number of synthetic clips")
    parser.add_argument("--steps", type=int, default=TrainConfig().steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def _of(clips: Sequence[LabelledClip], split: str, leave_out: str = "") -> list[LabelledClip]:
    return [clip for clip in clips if clip.split == split and not (leave_out and clip.generator.startswith(leave_out))]


def _detector(network: MelCnn, calibration: Calibration) -> MelCnnDetector:
    return MelCnnDetector(network, calibration, BASE_CONFIG, None, "cpu")


def _config(
    arguments: argparse.Namespace,
    network: MelCnn,
    calibration: Calibration,
    clips: Sequence[LabelledClip],
    test: Sequence[ScoredClip],
    history: Sequence[dict[str, float]],
) -> dict[str, Any]:
    rows = error_table(test, calibration, BASE_CONFIG["threshold_llr"])
    not_shown = [] if any(clip.generator.startswith("own_") for clip in clips) else ["output of our own AudioLM"]
    if arguments.leave_out:
        not_shown.append(f"generator {arguments.leave_out}")
    return {
        **BASE_CONFIG,
        "network": network.config.to_dict(),
        "calibration": calibration.to_dict(),
        "training": {
            "seed": arguments.seed,
            "steps": int(history[-1]["step"]),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "clips": count_clips(clips),
            "test": rows_as_dicts(rows),
            "test_pooled": {name: round(value, 6) for name, value in pooled_measures(test, calibration).items()},
            "not_shown": not_shown,
        },
    }


def main() -> None:
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    started = time.perf_counter()
    sizes = DataSizes.usual(arguments.share)
    clips = build_clips(
        arguments.corpus, arguments.cache, sizes, arguments.seed, arguments.generations, codecs(arguments.codecs)
    )
    logger.info("data ready after %.0f s", time.perf_counter() - started)
    train, held = (_of(clips, split, arguments.leave_out) for split in ("train", "held"))
    config = replace(TrainConfig(), seed=arguments.seed, steps=arguments.steps)
    name = f"fit-{len(train)}-{len(held)}-{arguments.leave_out or 'all'}-{arguments.seed}-{arguments.steps}"
    work = arguments.cache / name
    network, history = fit(train, held, config, noises=noise_recordings(arguments.corpus), work=work)
    logger.info("trained after %.0f s", time.perf_counter() - started)
    score = _detector(network, IDENTITY).score_blocks
    scored_held, scored_test = score_clips(score, held), score_clips(score, _of(clips, "test"))
    calibration = calibrate(scored_held)
    full = _config(arguments, network, calibration, clips, scored_test, history)
    dev = [item for item in scored_held if item.clip.is_bona_fide]
    scores = {"scores": reference_rows([*dev, *scored_test], calibration)}
    write_artefact(arguments.out, network.state_dict(), full, {REFERENCE_SCORES: scores})
    rows = error_table(scored_test, calibration, BASE_CONFIG["threshold_llr"])
    (arguments.out / "README.md").write_text(model_card(full, rows), encoding="utf-8")
    logger.info("wrote %s after %.0f s", arguments.out, time.perf_counter() - started)


if __name__ == "__main__":
    main()
