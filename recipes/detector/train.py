"""Build the training data, train the log-mel detector, calibrate it, measure it, and write it to the package.

    python recipes/detector/train.py --corpus ../shared/corpus --cache /tmp/detector [--generations RUN_FOLDER ...]

Everything follows from the seed. With ``--generations`` (run folders that ``audiolm-audit generate`` made from the
corpus), our own model's output joins the synthetic class, and recordings through its codec the bona fide class.
``audiolm-audit detect-train recipes/detector.toml`` does the same from a file.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from detectors.mel_cnn import SHIPPED
from detectors.training import TrainConfig
from evaluation.detector_training import TrainingPlan, train_detector


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"), help="folder with manifest.csv")
    parser.add_argument("--cache", type=Path, required=True, help="folder for clips and training state")
    parser.add_argument("--generations", type=Path, nargs="*", default=[], help="run folders of our own model")
    parser.add_argument("--codecs", nargs="*", default=[], metavar="NAME=FOLDER", help="other codecs, synthetic")
    parser.add_argument("--no-own-codec", action="store_true", help="no recordings through the shipped model's codec")
    parser.add_argument("--leave-out", default="", help="generator kept out of training and calibration, for a test")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where the detector is written")
    parser.add_argument("--share", type=float, default=1.0, help="share of the usual number of synthetic clips")
    parser.add_argument("--steps", type=int, default=TrainConfig().steps)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    train_detector(
        TrainingPlan(
            corpus=arguments.corpus,
            cache=arguments.cache,
            out=arguments.out,
            generations=tuple(arguments.generations),
            codecs={name: Path(folder) for name, _, folder in (text.partition("=") for text in arguments.codecs)},
            own_codec=not arguments.no_own_codec,
            leave_out=arguments.leave_out,
            share=arguments.share,
            steps=arguments.steps,
            seed=arguments.seed,
            threads=arguments.threads,
        )
    )


if __name__ == "__main__":
    main()
