"""Training of the delayed decoder on the tokens that the coarse and fine stage are trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from audiolm.dataset import Chances
from audiolm.delay_pattern import HIDDEN
from audiolm.delayed import DelayedConfig, DelayedRows, DelayedStage
from audiolm.optimisation import OptimiserConfig, module_randomness
from audiolm.runtime import Runtime
from audiolm.token_task import TokenTask
from audiolm.tokens import FRAMES_PER_SEMANTIC
from audiolm.train_parallel import code_counts, crop_start, stacked, tokens_checked
from audiolm.train_stages import TokenisedUtterance, lengths_of

__all__ = ["DelayedTask", "DelayedTraining"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayedTraining:
    """``batch`` crops of ``crop`` frames (None: the decoder's window) per step; ``validation_batches``: held out.

    ``fine_weight``: of a fine level's loss beside a coarse one's. ``hide_frames``: share of the frames whose codes
    the network may not read, so that it listens to the semantic tokens; ``hide_semantic``: share of the crops
    without semantic tokens, from which guidance measures what they change.
    """

    optimiser: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(steps=1000, learning_rate=1e-3))
    batch: int = 8
    crop: int | None = None
    validation_batches: int = 4
    fine_weight: float = 0.15
    hide_frames: float = 0.1
    hide_semantic: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("fine_weight", "hide_frames", "hide_semantic"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use 0 to 1")


class _Crop(NamedTuple):
    semantic: np.ndarray
    codes: np.ndarray
    heard: np.ndarray


class DelayedTask(TokenTask[DelayedStage, list[_Crop]]):
    """A delayed decoder on lists of cached utterances; the training loop drives it."""

    name = "stage_delayed"

    def __init__(
        self,
        train: Sequence[TokenisedUtterance],
        dev: Sequence[TokenisedUtterance],
        config: DelayedConfig,
        training: DelayedTraining | None = None,
        runtime: Runtime | None = None,
        start: Callable[[DelayedStage], None] | None = None,
    ) -> None:
        """``start`` sets first weights other than random ones, before the runtime may cut the model into shards."""
        self.config = config
        self.training = training or DelayedTraining()
        self.runtime = runtime or Runtime()
        self.train = tokens_checked(train, "training", config.n_levels, self.name)
        self.dev = tokens_checked(dev, "development", config.n_levels, self.name)
        with module_randomness(self.training.seed, 2**31 - 1):
            model = DelayedStage(config)
        model.start_from_counts(code_counts(self.train, config.n_levels, config.codebook_size))
        self.ready(model, lengths_of(self.train, self.dev), start)

    def drawn(self, rng: np.random.Generator) -> tuple[list[_Crop], np.ndarray]:
        crops = [self._hidden(crop, rng) for crop in self._crops(self.train, self.chances, rng)]
        return crops, np.array([crop.codes.shape[1] for crop in crops])

    def losses(self, batch: list[_Crop], rows: slice) -> dict[str, Tensor]:
        loss, coarse, accuracy = self.run.loss(self._rows(batch, rows), self._weights())
        return {"loss": loss, "coarse": coarse, "accuracy": accuracy}

    def held_out(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """Nothing is hidden."""
        return self.losses(self._crops(self.dev, self.dev_chances, rng), slice(None))

    def _weights(self) -> Tensor:
        weights = torch.full((self.config.n_levels,), self.training.fine_weight, device=self.runtime.device)
        weights[: self.config.n_coarse] = 1.0
        return weights

    def _crops(self, speech: Sequence[TokenisedUtterance], chances: Chances, rng: np.random.Generator) -> list[_Crop]:
        width = max(1, (self.training.crop or self.config.window) // FRAMES_PER_SEMANTIC)
        crops = []
        for index in chances.draw(self.training.batch, rng):
            item = speech[index]
            start = crop_start(item, width, rng)
            codes = item.codes[:, start * FRAMES_PER_SEMANTIC : (start + width) * FRAMES_PER_SEMANTIC].astype(np.int64)
            crops.append(_Crop(item.semantic[start : start + width].astype(np.int64), codes, codes))
        return crops

    def _hidden(self, crop: _Crop, rng: np.random.Generator) -> _Crop:
        """The crop with some frames' codes, or all semantic tokens, kept from the network."""
        frames = rng.random(crop.codes.shape[1]) < self.training.hide_frames
        heard = np.where(frames, HIDDEN, crop.codes)
        if rng.random() < self.training.hide_semantic:
            return crop._replace(semantic=np.full_like(crop.semantic, HIDDEN), heard=heard)
        return crop._replace(heard=heard)

    def _rows(self, crops: Sequence[_Crop], rows: slice = slice(None)) -> DelayedRows:
        """Rows of crops, all padded to the longest of the batch, so that dropout is the same in whatever part."""
        arrays = (stacked(list(values), HIDDEN) for values in zip(*crops, strict=True))
        return DelayedRows(*(array[rows].to(self.runtime.device) for array in arrays))
