"""What the trainings of all language models share: a step in parts, validation, what is stored, what is written.

A task draws a batch of crops of cached tokens from (seed, step) alone and says what a part of it loses; how a step is
taken over parts, processes and devices stands here once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from audiolm import checkpoint
from audiolm.dataset import Chances
from audiolm.optimisation import ModelState, Optimiser, OptimiserConfig
from audiolm.row_dropout import RowRandomness
from audiolm.runtime import Runtime

__all__ = ["TokenTask"]

VALIDATION = 2**32 - 1
"""In place of a step's number for the draws of the held-out crops."""


class Training(Protocol):
    """Settings that every task has."""

    @property
    def optimiser(self) -> OptimiserConfig: ...
    @property
    def batch(self) -> int: ...
    @property
    def validation_batches(self) -> int: ...
    @property
    def seed(self) -> int: ...


Batch = TypeVar("Batch")
Model = TypeVar("Model", bound=Any)


class TokenTask(ModelState, ABC, Generic[Model, Batch]):
    """A language model on lists of cached utterances; the training loop drives it."""

    name: str
    training: Any
    runtime: Runtime
    model: Model

    def ready(
        self,
        model: Model,
        lengths: tuple[Sequence[int], Sequence[int]],
        start: Callable[[Model], None] | None,
    ) -> None:
        """Called at the end of a task's constructor: ``lengths`` of the training and the development utterances, by
        which they are drawn; ``start`` sets first weights, before the runtime may cut the model into shards."""
        training: Training = self.training
        self.model = model
        if start is not None:
            start(model)
        self.chances, self.dev_chances = (Chances(list(split)) for split in lengths)
        self.dropout = RowRandomness()
        self.dropout.install(model)
        self.run = self.runtime.wrap(model, "loss")
        self.optimiser = Optimiser(model, training.optimiser, self.runtime)
        model.train()

    @abstractmethod
    def drawn(self, rng: np.random.Generator) -> tuple[Batch, np.ndarray]:
        """A training batch, and per row how much of it is learnt: a part weighs what its rows have of that."""

    @abstractmethod
    def losses(self, batch: Batch, rows: slice) -> dict[str, Tensor]:
        """What these rows lose: ``loss``, which is learnt from, and what else is told."""

    @abstractmethod
    def held_out(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """What a batch of the development utterances loses."""

    def training_step(self, step: int) -> dict[str, float]:
        """One batch, drawn from (seed, step) alone, forwards, backwards and into the weights."""
        batch, learnt = self.drawn(np.random.default_rng([self.training.seed, step]))
        report: dict[str, float] = {}
        self.optimiser.zero()
        for part in self.runtime.parts(len(learnt)):
            weight = float(learnt[part.rows].sum() / learnt.sum())
            self.dropout.start(self.training.seed, step, part.rows, self.runtime.device)
            with self.runtime.part_of_step(self.model, part):
                with self.runtime.autocast():
                    losses = self.losses(batch, part.rows)
                self.optimiser.backward(losses["loss"] * weight, step)
            for name, value in losses.items():
                report[name] = report.get(name, 0.0) + float(value.detach()) * weight
        update = self.optimiser.update(step)
        return self.runtime.totals(report) | update

    def validate(self) -> dict[str, float]:
        """Losses on fixed crops of the development utterances, with the averaged weights."""
        rng = np.random.default_rng([self.training.seed, VALIDATION])
        with self.optimiser.averaged(), torch.no_grad():
            found = [self.held_out(rng) for _ in range(self.training.validation_batches)]
        return {name: float(np.mean([float(row[name]) for row in found])) for name in found[0]}

    def export(self, folder: Path, record: dict[str, Any]) -> None:
        """Write the averaged weights as the model's part."""
        record = {**record, "training": checkpoint.config_to_dict(self.training)}
        weights = self.optimiser.exported()
        if self.runtime.is_main:
            self.model.save(folder, record, weights)
