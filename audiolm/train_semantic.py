"""Training of the semantic tokenizer: w2v-BERT steps, then k-means over its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiolm import checkpoint
from audiolm.optimisation import Optimiser, OptimiserConfig, generator_for, module_randomness
from audiolm.semantic.kmeans import fit_centroids
from audiolm.semantic.tokenizer import TokenizerConfig, W2vBertTokenizer
from audiolm.semantic.w2v_bert import FRAME_SAMPLES, PART, Losses, W2vBert, W2vBertConfig, draw_mask, nano

__all__ = ["W2vBertTask", "W2vBertTraining", "fit_kmeans"]

START_BATCHES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class W2vBertTraining:
    """``batch`` crops of up to ``crop_s`` seconds per step; ``validation_crops``: fixed crops of held-out speech."""

    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(steps=1500, learning_rate=1.5e-3, weight_decay=0.02)
    )
    batch: int = 10
    crop_s: float = 4.0
    validation_crops: int = 32
    seed: int = 0


class W2vBertTask:
    """w2v-BERT on lists of 16 kHz float32 waveforms ``[time]``; the training loop drives it."""

    name = "w2v_bert"

    def __init__(
        self,
        train: Sequence[np.ndarray],
        dev: Sequence[np.ndarray],
        model: W2vBertConfig | None = None,
        training: W2vBertTraining | None = None,
    ) -> None:
        self.config = model or nano()
        self.training = training or W2vBertTraining()
        self.train, self.dev = _usable(train, "training"), _usable(dev, "development")
        seconds = np.array([len(wave) for wave in self.train], dtype=np.float64)
        self.weights = seconds / seconds.sum()
        with module_randomness(self.training.seed, -1 % 2**31):
            self.model = W2vBert(self.config)
        self._start_codebook()
        self.optimiser = Optimiser(self.model, self.training.optimiser)
        self.model.train()

    def training_step(self, step: int) -> dict[str, float]:
        """One batch, drawn from (seed, step) alone, forwards, backwards and into the weights."""
        rng = np.random.default_rng([self.training.seed, step])
        waves, lengths = self._batch(self.train, self.weights, self.training.batch, rng)
        with module_randomness(self.training.seed, step):
            losses = self._losses(waves, lengths, rng)
        report = self.optimiser.step(losses.total, step)
        return {**_floats(losses), **report}

    def validate(self) -> dict[str, float]:
        """Losses on fixed crops of the development speech, with the averaged weights and fixed masks."""
        rng = np.random.default_rng([self.training.seed, 2**32 - 1])
        shares = np.full(len(self.dev), 1.0 / len(self.dev))
        rows: list[dict[str, float]] = []
        with self.optimiser.averaged(), torch.inference_mode():
            for _ in range(max(1, self.training.validation_crops // self.training.batch)):
                waves, lengths = self._batch(self.dev, shares, self.training.batch, rng)
                rows.append(_floats(self._losses(waves, lengths, rng)))
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])

    def export(self, folder: Path, record: dict[str, Any]) -> None:
        """Write the averaged weights as part ``w2v_bert``; :func:`fit_kmeans` makes a tokenizer of it."""
        checkpoint.save_part(
            folder,
            part=PART,
            config=checkpoint.config_to_dict(self.config),
            state_dict=self.optimiser.average,
            record={**record, "training": checkpoint.config_to_dict(self.training)},
        )

    def _losses(self, waves: Tensor, lengths: Tensor, rng: np.random.Generator) -> Losses:
        draws = generator_for(rng)
        mask = draw_mask(lengths, waves.shape[1] // FRAME_SAMPLES, self.config, draws)
        return self.model(waves, lengths, mask, draws)

    def _batch(
        self, speech: Sequence[np.ndarray], shares: np.ndarray, count: int, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        crop = int(round(self.training.crop_s * self.config.log_mel.sample_rate_hz)) // FRAME_SAMPLES * FRAME_SAMPLES
        waves = np.zeros((count, crop), dtype=np.float32)
        lengths = np.zeros(count, dtype=np.int64)
        for row, index in enumerate(rng.choice(len(speech), size=count, p=shares)):
            wave = speech[index]
            start = int(rng.integers(max(1, len(wave) - crop + 1)))
            piece = wave[start : start + crop]
            lengths[row] = len(piece) // FRAME_SAMPLES
            kept = lengths[row] * FRAME_SAMPLES
            waves[row, :kept] = piece[:kept]
        return torch.from_numpy(waves), torch.from_numpy(lengths)

    @torch.no_grad()
    def _start_codebook(self) -> None:
        rng = np.random.default_rng([self.training.seed, 2**32 - 2])
        spectra = []
        for _ in range(START_BATCHES):
            waves, lengths = self._batch(self.train, self.weights, self.training.batch, rng)
            log_mel, valid = self.model.spectrum(waves, lengths)
            per_frame = log_mel.shape[1] // valid.shape[1]
            spectra.append(log_mel[valid.repeat_interleave(per_frame, dim=1)])
        self.model.quantizer.start_from(torch.cat(spectra).unsqueeze(0), generator_for(rng))


def fit_kmeans(
    w2v_bert_folder: str | Path,
    speech: Sequence[np.ndarray],
    out_folder: str | Path,
    *,
    n_clusters: int = 256,
    tap_layer: int = 2,
    seed: int = 0,
    record: Mapping[str, Any] | None = None,
) -> W2vBertTokenizer:
    """Cluster the features of ``speech`` and write the finished tokenizer (part ``semantic``) to ``out_folder``.

    Features come from the exported (half-precision) weights, so that centroids fit what users will load.
    """
    config, state, history = checkpoint.load_part(w2v_bert_folder, PART)
    model = W2vBert(checkpoint.config_from_dict(W2vBertConfig, config))
    checkpoint.load_weights(model, state, w2v_bert_folder)
    model.eval()
    features = []
    with torch.inference_mode():
        for wave in _usable(speech, "k-means"):
            kept = len(wave) // FRAME_SAMPLES * FRAME_SAMPLES
            row = torch.from_numpy(np.ascontiguousarray(wave[:kept])).unsqueeze(0)
            features.append(model.features(row, torch.tensor([kept // FRAME_SAMPLES]), tap_layer)[0])
    clusters = fit_centroids(torch.cat(features).numpy(), n_clusters=n_clusters, seed=seed)
    tokenizer = W2vBertTokenizer(
        TokenizerConfig(model=model.config, tap_layer=tap_layer, n_tokens=n_clusters), model, clusters
    )
    kmeans = {"n_clusters": n_clusters, "tap_layer": tap_layer, "seed": seed, "frames": sum(map(len, features))}
    tokenizer.save(out_folder, {"w2v_bert": history, "kmeans": kmeans, **(record or {})})
    return tokenizer


def _usable(speech: Sequence[np.ndarray], what: str) -> list[np.ndarray]:
    kept = [np.asarray(wave, dtype=np.float32) for wave in speech if len(wave) >= FRAME_SAMPLES]
    if not kept:
        raise ValueError(f"no {what} utterance lasts {FRAME_SAMPLES} samples (40 ms); give 16 kHz speech")
    return kept


def _floats(losses: Losses) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in losses._asdict().items()}
