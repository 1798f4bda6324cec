"""Train a w2v-BERT as chosen in docs/semantic-tokens.md, and its k-means; the stages are trained on from there.

    python recipes/abx/train_w2v_bert.py --data ../shared/corpus/manifest.csv --out runs/nano --steps 12000
    python recipes/abx/train_w2v_bert.py --data ../shared/corpus/manifest.csv --out runs/nano --steps 6000 \\
        --labels runs/phone_labels.safetensors

Without ``--labels``: self-supervised, as published. With: the second stack predicts the labels (text-informed where
they are phones). Writes OUT/w2v-bert/export and OUT/semantic/export, where ``audiolm-audit train`` looks for them.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open

from audiolm.dataset import Recording, read_recordings
from audiolm.optimisation import OptimiserConfig
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.kmeans import RESTARTS
from audiolm.semantic.w2v_bert import FRAME_SAMPLES, W2vBertConfig
from audiolm.train_semantic import W2vBertTask, W2vBertTraining, fit_kmeans
from audiolm.training import LoopConfig, train

SAMPLE_RATE_HZ = 16_000


def main() -> None:
    options = arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.threads:
        torch.set_num_threads(options.threads)
    speech = {split: recordings(options, split) for split in ("train", "dev")}
    labels = {split: labels_of(options.labels, rows) for split, rows in speech.items()} if options.labels else {}
    waves = {split: [item.samples for item in rows] for split, rows in speech.items()}
    task = W2vBertTask(
        waves["train"],
        waves["dev"],
        model_config(options),
        training_config(options),
        labels=labels.get("train"),
        dev_labels=labels.get("dev"),
    )
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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


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
        steps=options.steps, learning_rate=options.learning_rate, weight_decay=0.02, ema_decay=0.995
    )
    return W2vBertTraining(optimiser=optimiser, batch=8, crop_s=3.0, seed=options.seed)


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


if __name__ == "__main__":
    main()
