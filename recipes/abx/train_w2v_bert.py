"""Train a w2v-BERT as chosen in docs/semantic-tokens.md, and its k-means; the stages are trained on from there.

    python recipes/abx/train_w2v_bert.py --data ../shared/corpus/manifest.csv --out runs/nano --steps 12000
    python recipes/abx/train_w2v_bert.py --data ../shared/corpus/manifest.csv --out runs/first --steps 2400 \\
        --labels runs/phone_labels.safetensors
    python recipes/abx/train_w2v_bert.py --data ../shared/corpus/manifest.csv --out runs/nano --steps 4800 \\
        --labels runs/phone_labels.safetensors --start runs/first/w2v-bert/export --guess-labels --disturb \\
        --speeds 1 0.9 1.1 0.85 0.95 1.05 1.15

Without ``--labels``: self-supervised, as published. With: the second stack predicts the labels (text-informed where
they are phones). The third line goes on from the second's weights, with more voices, rooms and noise, and with its
guesses where no transcript says what is spoken. Writes OUT/w2v-bert/export and OUT/semantic/export, where
``audiolm-audit train`` looks for them.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from audiolm import checkpoint
from audiolm.dataset import Recording, read_recordings
from audiolm.optimisation import OptimiserConfig
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.disturbances import Disturbances
from audiolm.semantic.kmeans import RESTARTS
from audiolm.semantic.w2v_bert import FRAME_SAMPLES, PART, W2vBert, W2vBertConfig
from audiolm.speed_variants import at_speeds
from audiolm.train_semantic import W2vBertTask, W2vBertTraining, fit_kmeans
from audiolm.training import LoopConfig, train

SAMPLE_RATE_HZ = 16_000
SURE, ENOUGH, SHORTEST_FRAMES = 0.9, 0.5, 10
"""Least chance of a guessed label; recordings with this share of labels, or shorter, get no guesses."""


def main() -> None:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    speech = {split: recordings(options, split) for split in ("train", "dev")}
    labels = {split: labels_of(options.labels, rows) for split, rows in speech.items()} if options.labels else {}
    waves = {split: [item.samples for item in rows] for split, rows in speech.items()}
    start = checkpoint.load_part(options.start, PART)[1] if options.start else None
    config = model_config(options)
    if options.guess_labels and start is not None:
        guesser = checkpoint.build(lambda: W2vBert(config), start, options.start).eval()
        labels["train"] = guessed(waves["train"], labels["train"], guesser)
    spoken = at_all_speeds(speech["train"], labels.get("train"), options.speeds)
    task = W2vBertTask(
        spoken[0], waves["dev"], config, training_config(options), labels=spoken[1], dev_labels=labels.get("dev")
    )
    if start is not None:
        task.model.load_state_dict(start)
        task.optimiser.restart_average()
    loop = LoopConfig(
        steps=options.steps, minutes=options.minutes, log_every=50, validate_every=500, save_every=options.save_every
    )
    record = train(task, options.out / "w2v-bert", loop, resume=options.resume)
    print(json.dumps(record, sort_keys=True))
    fit_kmeans(
        options.out / "w2v-bert" / "export",
        waves["train"][:: options.cluster_every],
        options.out / "semantic" / "export",
        n_clusters=options.clusters,
        tap_layer=options.layer,
        seed=options.cluster_seed,
        restarts=options.cluster_restarts,
        record={"recordings": len(waves["train"]), "text_informed": bool(options.labels)},
    )
    finished = {"finished": True, "recordings": len(waves["train"])}
    (options.out / "semantic" / "training.json").write_text(json.dumps(finished) + "\n", encoding="utf-8")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--labels", type=Path, help="what phone_labels.py wrote")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--dropout", type=float, help="default: 0, with labels 0.1")
    parser.add_argument("--layer", type=int, default=3)
    parser.add_argument("--clusters", type=int, default=64)
    parser.add_argument("--cluster-every", type=int, default=1, help="cluster every n-th recording")
    parser.add_argument("--cluster-seed", type=int, default=0)
    parser.add_argument("--cluster-restarts", type=int, default=RESTARTS, help="of which the tightest is kept")
    parser.add_argument("--save-every", type=int, default=500)
    parser.add_argument("--start", type=Path, help="go on from these weights (a folder such as w2v-bert/export)")
    parser.add_argument("--guess-labels", action="store_true", help="where there is no label, what --start is sure of")
    parser.add_argument("--disturb", action="store_true", help="crops through rooms, narrow bands and noise")
    parser.add_argument("--speeds", type=float, nargs="+", default=[1.0])
    parser.add_argument("--ema-decay", type=float, default=0.995)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.guess_labels and not (options.start and options.labels):
        parser.error("--guess-labels needs --start, which guesses, and --labels, which are filled up")
    return options


def model_config(options: argparse.Namespace) -> W2vBertConfig:
    """Three million weights: two contrastive and three masked-prediction blocks of width 192."""
    dropout = options.dropout if options.dropout is not None else 0.1 if options.labels else 0.0
    stack = ConformerConfig(dim=192, heads=4, layers=2, ff_factor=2, dropout=dropout)
    config = W2vBertConfig(
        contrastive=stack, masked=replace(stack, layers=3), channels=16, warp=0.15, mask_start=0.09, mask_span=5
    )
    if not options.labels:
        return config
    with safe_open(options.labels, framework="np") as stored:
        classes = len(json.loads(stored.metadata()["phones"]))
    return replace(
        config,
        classes=classes,
        predict_visible=True,
        contrastive_weight=0.2,
        warp=0.2,
        mask_start=0.05,
        mask_span=3,
    )


def training_config(options: argparse.Namespace) -> W2vBertTraining:
    optimiser = OptimiserConfig(
        steps=options.steps, learning_rate=options.learning_rate, weight_decay=0.02, ema_decay=options.ema_decay
    )
    shares = Disturbances(room=0.3, narrow=0.2, noise=0.5) if options.disturb else Disturbances()
    return W2vBertTraining(optimiser=optimiser, batch=8, crop_s=3.0, seed=options.seed, disturbances=shares)


def recordings(options: argparse.Namespace, split: str) -> list[Recording]:
    cap = 300.0 if split == "train" else None
    return read_recordings(options.data, split=split, sample_rate_hz=SAMPLE_RATE_HZ, max_seconds_per_speaker=cap)


def labels_of(path: Path, rows: list[Recording]) -> list[np.ndarray]:
    """Of each recording, cut or filled with -1 to its own number of frames."""
    found = []
    with safe_open(path, framework="np") as stored:
        names = set(stored.keys())
        for row in rows:
            frames = len(row.samples) // FRAME_SAMPLES
            known = stored.get_tensor(row.utterance_id)[:frames] if row.utterance_id in names else np.zeros(0, np.int16)
            found.append(np.pad(known.astype(np.int64), (0, frames - len(known)), constant_values=-1))
    return found


@torch.inference_mode()
def guessed(waves: list[Any], labels: list[np.ndarray], model: W2vBert) -> list[np.ndarray]:
    """``labels`` of recordings that have few, filled up where ``model`` gives a class at least ``SURE``."""
    filled = []
    for wave, known in zip(waves, labels, strict=True):
        if len(known) < SHORTEST_FRAMES or (known >= 0).mean() > ENOUGH:
            filled.append(known)
            continue
        row = torch.from_numpy(np.asarray(wave[: len(known) * FRAME_SAMPLES], dtype=np.float32))[None]
        features = model.features(row, torch.tensor([len(known)]), model.config.masked.layers)[0]
        chance, guess = torch.softmax(model.to_code(features), dim=-1).max(dim=-1)
        guess = torch.where(chance >= SURE, guess, -1).numpy()
        filled.append(np.where(known < 0, guess, known))
    return filled


def at_all_speeds(
    rows: list[Recording], labels: list[np.ndarray] | None, speeds: list[float]
) -> tuple[list[Any], list[np.ndarray] | None]:
    """Every recording at every speed, and the label of each of its frames: that of the moment it was spoken in."""
    waves = [item.samples for item in at_speeds(rows, speeds)]
    if labels is None:
        return waves, None
    moved = []
    for place, wave in enumerate(waves):
        speed, known = speeds[place // len(rows)], labels[place % len(rows)]
        moments = ((np.arange(len(wave) // FRAME_SAMPLES) + 0.5) * speed).astype(np.int64)
        moved.append(known[np.minimum(moments, len(known) - 1)] if len(known) else np.full(len(moments), -1))
    return waves, moved


if __name__ == "__main__":
    main()
