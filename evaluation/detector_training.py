"""Build the training data, train the log-mel detector, calibrate it, measure it, and write it with its card."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

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
from detectors.augmentation import augment_batch
from detectors.calibration import Calibration
from detectors.error_rates import bayes_threshold
from detectors.labelled import LabelledClip, count_clips
from detectors.mel_cnn import REFERENCE_SCORES, SHIPPED, MelCnnDetector
from detectors.model_card import model_card
from detectors.networks.mel_cnn import MelCnn
from detectors.shortcuts import audit_shortcuts
from detectors.training import TrainConfig, WindowSampler, fit
from evaluation.detector_codecs import codecs
from evaluation.detector_data import DataSizes, build_clips, noise_recordings
from evaluation.whole_files import write_whole

__all__ = ["TrainingPlan", "train_detector"]

logger = logging.getLogger(__name__)
AUDIT_BATCHES, AUDIT_STREAM = 12, 7_919
IDENTITY = Calibration(scale=1.0, offset=0.0, independent_bona=1, independent_synth=1)
BASE_CONFIG: Mapping[str, Any] = MappingProxyType(
    {
        "version": "0",
        "polarity": "higher = more likely bona fide",
        "unit": "natural-log likelihood ratio of bona fide against synthetic, in nats",
        "threshold_llr": bayes_threshold(),
        "threshold_source": "Bayes threshold of ASVspoof 5: share of synthetic 0.05, miss costs 1, false alarm 10",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Everything a training follows from, as ``detect-train`` reads it from TOML.

    ``corpus``: folder with ``manifest.csv`` and ``text/``; ``cache``: clips and training state, a stopped training
    resumes from it; ``generations``: run folders of our own model; ``codecs``: exported codecs by name, synthetic;
    ``leave_out``: beginning of the names of generators kept from training and calibration, for a test; ``share``: of
    the usual number of synthetic clips; ``own_codec``: also put recordings through the codec of the shipped model.
    """

    corpus: Path
    cache: Path
    out: Path = SHIPPED
    generations: tuple[Path, ...] = ()
    codecs: Mapping[str, Path] = field(default_factory=dict)
    own_codec: bool = True
    leave_out: str = ""
    share: float = 1.0
    steps: int = TrainConfig().steps
    seed: int = 0
    threads: int = 2

    def __post_init__(self) -> None:
        if not (self.corpus / "manifest.csv").is_file():
            raise ValueError(f"corpus {self.corpus}: holds no manifest.csv; name the folder of the corpus")
        if not 0.0 < self.share <= 4.0 or self.steps < 1 or self.threads < 1 or self.seed < 0:
            raise ValueError("share lies in (0, 4], steps and threads are at least 1, seed at least 0")


def train_detector(plan: TrainingPlan) -> dict[str, float]:
    """Train by plan and write the detector to ``plan.out``; gives the pooled measures on test speakers."""
    import torch

    torch.set_num_threads(plan.threads)
    started = time.perf_counter()
    clips = build_clips(
        plan.corpus,
        plan.cache,
        DataSizes.usual(plan.share),
        plan.seed,
        plan.generations,
        codecs(plan.codecs, own=plan.own_codec),
    )
    logger.info("data ready after %.0f s", time.perf_counter() - started)
    train, held = (_of(clips, split, plan.leave_out) for split in ("train", "held"))
    config = replace(TrainConfig(), seed=plan.seed, steps=plan.steps)
    work = plan.cache / f"fit-{plan.leave_out or 'all'}-{plan.steps}-{_digest([*train, *held], config)}"
    network, history = fit(train, held, config, noises=noise_recordings(plan.corpus), work=work)
    logger.info("trained after %.0f s", time.perf_counter() - started)
    score = MelCnnDetector(network, IDENTITY, BASE_CONFIG, None, "cpu").score_blocks
    scored_held, scored_test = score_clips(score, held), score_clips(score, _of(clips, "test"))
    shortcuts = shown_shortcuts(train, config, noise_recordings(plan.corpus))
    _write(plan, network, history, clips, scored_held, scored_test, shortcuts)
    logger.info("wrote %s after %.0f s", plan.out, time.perf_counter() - started)
    return pooled_measures(scored_test, calibrate(scored_held))


def shown_shortcuts(
    training: Sequence[LabelledClip], config: TrainConfig, noises: Sequence[np.ndarray]
) -> dict[str, float]:
    """AUC of each shortcut probe on windows as the network is shown them."""
    sampler, windows, labels = WindowSampler(training), [], []
    for batch in range(AUDIT_BATCHES):
        rng = np.random.default_rng([config.seed, AUDIT_STREAM, batch])
        drawn, drawn_labels = sampler.draw(config.batch, rng)
        windows += list(augment_batch(drawn, config.augment, noises, rng))
        labels.append(drawn_labels)
    return audit_shortcuts(windows, np.concatenate(labels) > 0.5)


def _digest(clips: Sequence[LabelledClip], config: TrainConfig) -> str:
    """Of the very clips and settings: a training resumes only what it would have done itself."""
    digest = hashlib.sha256(repr(config).encode())
    for clip in clips:
        digest.update(f"{clip.generator}/{clip.condition}/{clip.utterance_id}/".encode() + clip.samples.tobytes())
    return digest.hexdigest()[:16]


def _of(clips: Sequence[LabelledClip], split: str, leave_out: str = "") -> list[LabelledClip]:
    return [clip for clip in clips if clip.split == split and not (leave_out and clip.generator.startswith(leave_out))]


def _write(
    plan: TrainingPlan,
    network: MelCnn,
    history: Sequence[dict[str, float]],
    clips: Sequence[LabelledClip],
    scored_held: Sequence[ScoredClip],
    scored_test: Sequence[ScoredClip],
    shortcuts: Mapping[str, float],
) -> None:
    calibration = calibrate(scored_held)
    rows = error_table(scored_test, calibration, BASE_CONFIG["threshold_llr"])
    not_shown = [] if any(clip.generator.startswith("own_") for clip in clips) else ["output of our own AudioLM"]
    if plan.leave_out:
        not_shown.append(f"generator {plan.leave_out}")
    full = {
        **BASE_CONFIG,
        "network": network.config.to_dict(),
        "calibration": calibration.to_dict(),
        "training": {
            "seed": plan.seed,
            "steps": int(history[-1]["step"]),
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "clips": count_clips(clips),
            "test": rows_as_dicts(rows),
            "test_pooled": {name: round(value, 6) for name, value in pooled_measures(scored_test, calibration).items()},
            "not_shown": not_shown,
            "shortcuts": {name: round(value, 4) for name, value in shortcuts.items()},
        },
    }
    dev = [item for item in scored_held if item.clip.is_bona_fide]
    scores = {"scores": reference_rows([*dev, *scored_test], calibration)}
    write_artefact(plan.out, network.state_dict(), full, {REFERENCE_SCORES: scores})
    write_whole(plan.out / "README.md", model_card(full, rows))
