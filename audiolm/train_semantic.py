"""Training of the semantic tokenizer: w2v-BERT steps, then k-means over its features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from audiolm import checkpoint
from audiolm.dataset import Chances
from audiolm.optimisation import ModelState, Optimiser, OptimiserConfig, generator_for, module_randomness
from audiolm.packed_speech import PackedSamples
from audiolm.row_dropout import RowRandomness
from audiolm.runtime import Runtime
from audiolm.semantic.disturbances import Disturbances, disturbed
from audiolm.semantic.features import frame_mask
from audiolm.semantic.kmeans import RESTARTS, fit_centroids
from audiolm.semantic.tokenizer import TokenizerConfig, W2vBertTokenizer
from audiolm.semantic.w2v_bert import (
    FRAME_SAMPLES,
    PART,
    Losses,
    UsageShare,
    W2vBert,
    W2vBertConfig,
    draw_mask,
    nano,
)

Samples = np.ndarray | PackedSamples

__all__ = ["W2vBertTask", "W2vBertTraining", "fit_kmeans"]

START_BATCHES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class W2vBertTraining:
    """``batch`` crops of up to ``crop_s`` seconds per step; ``validation_crops``: fixed crops of held-out speech;
    ``disturbances``: what training crops are heard through."""

    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(steps=1500, learning_rate=1.5e-3, weight_decay=0.02)
    )
    batch: int = 10
    crop_s: float = 4.0
    validation_crops: int = 32
    disturbances: Disturbances = field(default_factory=Disturbances)
    seed: int = 0


class _Batch(NamedTuple):
    """``waves`` ``[row, time]``, ``lengths`` ``[row]``, ``mask`` and ``asked`` (hidden, and to be predicted) and
    ``labels`` where the model has classes, ``[row, frame]``, in 640-sample frames; ``seeds`` of the rows' draws."""

    waves: Tensor
    lengths: Tensor
    mask: Tensor
    asked: Tensor
    labels: Tensor | None
    seeds: list[int]

    def rows(self, rows: slice, device: torch.device) -> _Batch:
        waves, lengths, mask, asked = (
            values[rows].to(device) for values in (self.waves, self.lengths, self.mask, self.asked)
        )
        labels = None if self.labels is None else self.labels[rows].to(device)
        return _Batch(waves, lengths, mask, asked, labels, self.seeds[rows])

    @property
    def draws(self) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in self.seeds]


class W2vBertTask(ModelState):
    """w2v-BERT on lists of 16 kHz float32 waveforms ``[time]``; the training loop drives it.

    ``labels``, ``dev_labels``: int64 ``[time // 640]`` for each waveform, -1 where unknown, if the model has classes.
    """

    name = "w2v_bert"

    def __init__(
        self,
        train: Sequence[Samples],
        dev: Sequence[Samples],
        model: W2vBertConfig | None = None,
        training: W2vBertTraining | None = None,
        runtime: Runtime | None = None,
        *,
        labels: Sequence[np.ndarray] | None = None,
        dev_labels: Sequence[np.ndarray] | None = None,
    ) -> None:
        self.config = model or nano()
        self.runtime = runtime or Runtime()
        self.training = training or W2vBertTraining()
        self.labels = _checked_labels(train, labels, self.config.classes, "training")
        self.dev_labels = _checked_labels(dev, dev_labels, self.config.classes, "development")
        self.train, self.dev = _usable(train, "training"), _usable(dev, "development")
        self.chances = Chances([len(wave) for wave in self.train])
        with module_randomness(self.training.seed, -1 % 2**31):
            self.model = W2vBert(self.config)
        self._start_codebook()
        self.dropout = RowRandomness()
        self.dropout.install(self.model)
        self.run = self.runtime.wrap(self.model, "usage")
        self.optimiser = Optimiser(self.model, self.training.optimiser, self.runtime)
        self.model.train()

    def training_step(self, step: int) -> dict[str, float]:
        """One batch, drawn from (seed, step) alone, forwards, backwards and into the weights."""
        rng = np.random.default_rng([self.training.seed, step])
        batch = self._disturbed(self._batch(self.train, self.labels, self.chances, rng), rng)
        parts = self.runtime.parts(len(batch.waves))
        shares = self._shares(batch)
        report: dict[str, float] = {}
        self.optimiser.zero()
        for part, share in zip(parts, shares, strict=True):
            rows = batch.rows(part.rows, self.runtime.device)
            self.dropout.start(self.training.seed, step, part.rows, self.runtime.device)
            with self.runtime.part_of_step(self.model, part):
                with self.runtime.autocast():
                    losses = self.run(rows.waves, rows.lengths, rows.mask, rows.draws, share, rows.labels)
                weights = _weights(batch, part.rows, 1 / self.runtime.n_parts)
                total = self.config.contrastive_weight * (weights.contrastive * losses.contrastive + losses.diversity)
                total = total + weights.masked * losses.masked
                self.optimiser.backward(total, step)
            for name, value in _floats(losses).items():
                report[name] = report.get(name, 0.0) + value * getattr(weights, name)
        update = self.optimiser.update(step)
        report = self.runtime.totals(report)
        contrast = report["contrastive"] + report["diversity"]
        report["total"] = self.config.contrastive_weight * contrast + report["masked"]
        return report | update

    def _shares(self, batch: _Batch) -> list[UsageShare | None]:
        """What each of this process's parts needs to know of the whole batch; nothing where there is one part."""
        parts = self.runtime.parts(len(batch.waves))
        if self.runtime.n_parts == 1:
            return [None]
        valid = batch.lengths.sum()
        own = []
        with torch.no_grad():
            for part in parts:
                rows = batch.rows(part.rows, self.runtime.device)
                own.append(self.run.usage(rows.waves, rows.lengths) * float(rows.lengths.sum() / valid))
        whole = self.runtime.total(torch.stack(own).sum(dim=0))
        return [
            UsageShare(float(batch.lengths[part.rows].sum() / valid), whole - usage)
            for part, usage in zip(parts, own, strict=True)
        ]

    def validate(self) -> dict[str, float]:
        """Losses on fixed crops of the development speech, with the averaged weights and fixed masks."""
        rng = np.random.default_rng([self.training.seed, 2**32 - 1])
        even = Chances(np.ones(len(self.dev)))
        every = slice(0, self.training.batch)
        rows: list[dict[str, float]] = []
        with self.optimiser.averaged(), torch.no_grad():
            for _ in range(max(1, self.training.validation_crops // self.training.batch)):
                batch = self._batch(self.dev, self.dev_labels, even, rng).rows(every, self.runtime.device)
                losses = self.run(batch.waves, batch.lengths, batch.mask, batch.draws, None, batch.labels)
                rows.append(_floats(losses))
        return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}

    def export(self, folder: Path, record: dict[str, Any]) -> None:
        """Write the averaged weights as part ``w2v_bert``; :func:`fit_kmeans` makes a tokenizer of it."""
        weights = self.optimiser.exported()
        if self.runtime.is_main:
            checkpoint.save_part(
                folder,
                part=PART,
                config=checkpoint.config_to_dict(self.config),
                state_dict=weights,
                record={**record, "training": checkpoint.config_to_dict(self.training)},
            )

    def _batch(
        self, speech: Sequence[Samples], labels: Sequence[np.ndarray], chances: Chances, rng: np.random.Generator
    ) -> _Batch:
        waves, lengths, wanted = self._crops(speech, labels, chances, rng)
        mask = draw_mask(lengths, waves.shape[1] // FRAME_SAMPLES, self.config, generator_for(rng))
        asked = frame_mask(lengths, mask.shape[1]) if self.config.predict_visible else mask
        if wanted is not None:
            asked = asked & (wanted >= 0)
        return _Batch(waves, lengths, mask, asked, wanted, [int(seed) for seed in rng.integers(2**62, size=len(waves))])

    def _disturbed(self, batch: _Batch, rng: np.random.Generator) -> _Batch:
        shares = self.training.disturbances
        if shares == Disturbances():
            return batch
        samples = (batch.lengths * FRAME_SAMPLES).tolist()
        return batch._replace(waves=torch.from_numpy(disturbed(batch.waves.numpy(), samples, shares, rng)))

    def _crops(
        self, speech: Sequence[Samples], labels: Sequence[np.ndarray], chances: Chances, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Crops, their lengths in frames and their labels; with labels, crops start where a frame does."""
        count = self.training.batch
        frames = int(round(self.training.crop_s * self.config.log_mel.sample_rate_hz)) // FRAME_SAMPLES
        crop = frames * FRAME_SAMPLES
        waves = np.zeros((count, crop), dtype=np.float32)
        lengths = np.zeros(count, dtype=np.int64)
        wanted = np.full((count, frames), -1, dtype=np.int64)
        for row, index in enumerate(chances.draw(count, rng)):
            wave = speech[index]
            start = int(rng.integers(max(1, len(wave) - crop + 1)))
            first = start // FRAME_SAMPLES
            start = first * FRAME_SAMPLES if labels else start
            piece = wave[start : start + crop]
            lengths[row] = len(piece) // FRAME_SAMPLES
            kept = lengths[row] * FRAME_SAMPLES
            waves[row, :kept] = piece[:kept]
            if labels:
                wanted[row, : lengths[row]] = labels[index][first : first + lengths[row]]
        return torch.from_numpy(waves), torch.from_numpy(lengths), torch.from_numpy(wanted) if labels else None

    @torch.no_grad()
    def _start_codebook(self) -> None:
        rng = np.random.default_rng([self.training.seed, 2**32 - 2])
        spectra = []
        for _ in range(START_BATCHES):
            waves, lengths, _ = self._crops(self.train, [], self.chances, rng)
            log_mel, valid = self.model.spectrum(waves, lengths)
            per_frame = log_mel.shape[1] // valid.shape[1]
            spectra.append(log_mel[valid.repeat_interleave(per_frame, dim=1)])
        self.model.quantizer.start_from(torch.cat(spectra).unsqueeze(0), generator_for(rng))


def fit_kmeans(
    w2v_bert_folder: str | Path,
    speech: Sequence[Samples],
    out_folder: str | Path,
    *,
    n_clusters: int = 256,
    tap_layer: int = 2,
    seed: int = 0,
    restarts: int = RESTARTS,
    record: Mapping[str, Any] | None = None,
    device: torch.device | str = "cpu",
) -> W2vBertTokenizer:
    """Cluster the features of ``speech`` and write the finished tokenizer (part ``semantic``) to ``out_folder``.

    The tightest of ``restarts`` clusterings is taken. Features come from the exported (half-precision) weights, so that
    centroids fit what users will load.
    """
    config, state, history = checkpoint.load_part(w2v_bert_folder, PART)
    settings = checkpoint.config_from_dict(W2vBertConfig, config)
    model = checkpoint.build(lambda: W2vBert(settings), state, w2v_bert_folder).eval().to(device)
    features = []
    with torch.inference_mode():
        for wave in _usable(speech, "k-means"):
            kept = len(wave) // FRAME_SAMPLES * FRAME_SAMPLES
            row = torch.from_numpy(np.ascontiguousarray(wave[:kept])).unsqueeze(0).to(device)
            length = torch.tensor([kept // FRAME_SAMPLES], device=device)
            features.append(model.features(row, length, tap_layer)[0].cpu())
    clusters = fit_centroids(torch.cat(features).numpy(), n_clusters=n_clusters, seed=seed, restarts=restarts)
    tokenizer = W2vBertTokenizer(
        TokenizerConfig(model=model.config, tap_layer=tap_layer, n_tokens=n_clusters), model.cpu(), clusters
    )
    kmeans = {"n_clusters": n_clusters, "tap_layer": tap_layer, "seed": seed, "restarts": restarts}
    kmeans["frames"] = sum(map(len, features))
    tokenizer.save(out_folder, {"w2v_bert": history, "kmeans": kmeans, **(record or {})})
    return tokenizer


def _usable(speech: Sequence[Samples], what: str) -> list[Samples]:
    kept: list[Samples] = [
        wave if isinstance(wave, PackedSamples) else np.asarray(wave, dtype=np.float32)
        for wave in speech
        if len(wave) >= FRAME_SAMPLES
    ]
    if not kept:
        raise ValueError(f"no {what} utterance lasts {FRAME_SAMPLES} samples (40 ms); give 16 kHz speech")
    return kept


class _LossWeights(NamedTuple):
    """By what each loss of a part counts towards that of its batch, so that the parts add up."""

    total: float
    contrastive: float
    diversity: float
    masked: float
    accuracy: float
    perplexity: float


def _weights(batch: _Batch, rows: slice, even: float) -> _LossWeights:
    """Of rows ``rows`` of the whole ``batch``; a row with one hidden frame has no contrast."""
    hidden, asked = batch.mask.sum(dim=1), batch.asked.sum(dim=1)
    contrast = torch.where(hidden >= 2, hidden, 0)
    masked = float(asked[rows].sum() / asked.sum().clamp(min=1))
    contrastive = float(contrast[rows].sum() / contrast.sum().clamp(min=1))
    return _LossWeights(0.0, contrastive, even, masked, masked, even)


def _checked_labels(
    speech: Sequence[Samples], labels: Sequence[np.ndarray] | None, classes: int, what: str
) -> list[np.ndarray]:
    """The labels of the usable waveforms, empty where the model has no classes."""
    if not classes:
        if labels is not None:
            raise ValueError(
                f"{what} labels were given, but the model has no classes; set classes in its configuration"
            )
        return []
    if labels is None or len(labels) != len(speech):
        raise ValueError(f"{what}: the model predicts {classes} classes; give one label array for each recording")
    kept = []
    for index, (wave, row) in enumerate(zip(speech, labels, strict=True)):
        if len(row) != len(wave) // FRAME_SAMPLES or (len(row) and not -1 <= row.min() <= row.max() < classes):
            raise ValueError(
                f"{what} recording {index}: {len(row)} labels for {len(wave) // FRAME_SAMPLES} frames; give one label"
                f" from -1 (unknown) to {classes - 1} per 40 ms"
            )
        if len(wave) >= FRAME_SAMPLES:
            kept.append(np.asarray(row, dtype=np.int64))
    return kept


def _floats(losses: Losses) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in losses._asdict().items()}
