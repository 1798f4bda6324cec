"""Training of the parallel decoder on the tokens that the coarse and fine stage are trained on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from audiolm.dataset import Chances
from audiolm.optimisation import OptimiserConfig, module_randomness
from audiolm.parallel import MaskedRows, ParallelConfig, ParallelStage
from audiolm.runtime import Runtime
from audiolm.token_task import TokenTask
from audiolm.tokens import FRAMES_PER_SEMANTIC
from audiolm.train_stages import TokenisedUtterance, lengths_of

__all__ = ["ParallelTask", "ParallelTraining", "code_counts", "crop_start", "stacked", "tokens_checked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelTraining:
    """``batch`` crops of ``crop`` frames (None: the decoder's window) per step; ``validation_batches``: held out;
    ``finer_weight``: of the codes at levels finer than the drawn one, which SoundStorm does not learn from (0).
    A crop has few codes of one level, and the finer ones cost no further pass. ``level_power``: level ``l`` (from 1)
    is drawn in proportion to ``l ** -level_power``; SoundStorm draws evenly (0), by which the first level, which
    carries most, is learnt from one crop in twelve. ``prompt_share``: of the crops that have a prompt (SoundStorm: 1).
    """

    optimiser: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(steps=1000, learning_rate=1e-3))
    batch: int = 16
    crop: int | None = None
    validation_batches: int = 4
    finer_weight: float = 0.1
    level_power: float = 1.0
    prompt_share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("finer_weight", "prompt_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use 0 to 1")


class _Crop(NamedTuple):
    """Semantic tokens and codes ``[level, frame]`` of one moment, what is hidden, what each weighs in the loss."""

    semantic: np.ndarray
    codes: np.ndarray
    masked: np.ndarray
    weights: np.ndarray


class ParallelTask(TokenTask[ParallelStage, list[_Crop]]):
    """A parallel decoder on lists of cached utterances; the training loop drives it.

    Masking after SoundStorm, section 3.2: everything before a random moment is the prompt and seen; after it one random
    level is hidden by a cosine-distributed share and learnt, finer levels are hidden whole, coarser ones are seen.
    """

    name = "stage_parallel"

    def __init__(
        self,
        train: Sequence[TokenisedUtterance],
        dev: Sequence[TokenisedUtterance],
        config: ParallelConfig,
        training: ParallelTraining | None = None,
        runtime: Runtime | None = None,
        start: Callable[[ParallelStage], None] | None = None,
    ) -> None:
        """``start`` sets first weights other than random ones, before the runtime may cut the model into shards."""
        self.config = config
        self.training = training or ParallelTraining()
        self.runtime = runtime or Runtime()
        self.train = tokens_checked(train, "training", config.n_levels, self.name)
        self.dev = tokens_checked(dev, "development", config.n_levels, self.name)
        with module_randomness(self.training.seed, 2**31 - 1):
            model = ParallelStage(config)
        model.start_from_counts(code_counts(self.train, config.n_levels, config.codebook_size))
        self.ready(model, lengths_of(self.train, self.dev), start)

    def drawn(self, rng: np.random.Generator) -> tuple[list[_Crop], np.ndarray]:
        crops = self._crops(self.train, self.chances, rng)
        return crops, np.array([crop.weights.sum() for crop in crops])

    def losses(self, batch: list[_Crop], rows: slice) -> dict[str, Tensor]:
        loss, accuracy = self.run.loss(*self._rows(batch, rows))
        return {"loss": loss, "accuracy": accuracy}

    def held_out(self, rng: np.random.Generator) -> dict[str, Tensor]:
        """At the drawn levels only."""
        rows, weights = self._rows(self._crops(self.dev, self.dev_chances, rng))
        loss, accuracy = self.run.loss(rows, (weights == 1).to(weights))
        return {"loss": loss, "accuracy": accuracy}

    def _crops(self, speech: Sequence[TokenisedUtterance], chances: Chances, rng: np.random.Generator) -> list[_Crop]:
        return [self._crop(speech[index], rng) for index in chances.draw(self.training.batch, rng)]

    def _crop(self, item: TokenisedUtterance, rng: np.random.Generator) -> _Crop:
        """A random stretch of at most the crop's length, with its mask."""
        width = max(1, (self.training.crop or self.config.window) // FRAMES_PER_SEMANTIC)
        start = crop_start(item, width, rng)
        semantic = np.repeat(item.semantic[start : start + width].astype(np.int64), FRAMES_PER_SEMANTIC)
        codes = item.codes[:, start * FRAMES_PER_SEMANTIC : (start + width) * FRAMES_PER_SEMANTIC].astype(np.int64)
        frames = codes.shape[1]
        prompt = int(rng.integers(frames)) * int(rng.random() < self.training.prompt_share)
        chances = np.arange(1, self.config.n_levels + 1) ** -self.training.level_power
        level = int(rng.choice(self.config.n_levels, p=chances / chances.sum()))
        share = math.cos(rng.uniform(0, math.pi / 2))
        hidden = rng.random(frames) < share
        hidden[int(rng.integers(prompt, frames))] = True
        hidden[:prompt] = False
        masked = np.zeros(codes.shape, dtype=bool)
        masked[level] = hidden
        masked[level + 1 :, prompt:] = True
        weights = masked * np.float32(self.training.finer_weight)
        weights[level] = hidden
        return _Crop(semantic[:frames], codes, masked, weights)

    def _rows(self, crops: Sequence[_Crop], rows: slice = slice(None)) -> tuple[MaskedRows, Tensor]:
        """Rows of crops padded on the right, and the weight of each code, ``[row, level, frame]``. All are padded to
        the longest of the batch, so that a row has the same dropout in whatever part it is."""
        valid = stacked([np.ones(len(crop.semantic), dtype=bool) for crop in crops])
        arrays = (stacked(list(values)) for values in zip(*crops, strict=True))
        semantic, codes, masked, weights, valid = (array[rows].to(self.runtime.device) for array in (*arrays, valid))
        return MaskedRows(semantic, codes, masked, valid), weights


def tokens_checked(speech: Sequence[TokenisedUtterance], what: str, levels: int, part: str) -> list[TokenisedUtterance]:
    """``speech`` with its first ``levels``, as it is stored (mapped from disk).

    Raises:
        ValueError: no utterance, fewer levels, or tokens and codes that do not cover the same time.
    """
    if not speech:
        raise ValueError(f"{part}: there is no {what} utterance; give at least one")
    checked = []
    for index, item in enumerate(speech):
        where = f"{what} utterance {index}"
        semantic, codes = np.asarray(item.semantic), np.asarray(item.codes)
        if semantic.ndim != 1 or codes.ndim != 2 or len(semantic) == 0 or len(codes) < levels:
            raise ValueError(
                f"{where}: semantic {semantic.shape} and codes {codes.shape}; give [frame] and [{levels}, frame]"
            )
        if not 0 <= len(semantic) * FRAMES_PER_SEMANTIC - codes.shape[1] < FRAMES_PER_SEMANTIC:
            raise ValueError(
                f"{where}: {len(semantic)} semantic tokens and {codes.shape[1]} acoustic frames do not cover the same"
                " time; make both from the same samples"
            )
        checked.append(TokenisedUtterance(semantic, codes[:levels]))
    return checked


def code_counts(speech: Sequence[TokenisedUtterance], levels: int, size: int) -> Tensor:
    """How often each code occurs, ``[level, code]``."""
    first = np.arange(levels)[:, None] * size
    counts = np.zeros(levels * size, dtype=np.int64)
    for item in speech:
        counts += np.bincount((item.codes + first).ravel(), minlength=levels * size)
    return torch.from_numpy(counts.reshape(levels, size))


def crop_start(item: TokenisedUtterance, width: int, rng: np.random.Generator) -> int:
    """First semantic token of a random stretch of ``width``; 0 where there are fewer."""
    return int(rng.integers(max(1, len(item.semantic) - width + 1)))


def stacked(arrays: Sequence[np.ndarray], fill: int = 0) -> Tensor:
    """Arrays of one shape but for the last axis as one tensor, ``fill`` on the right."""
    longest = max(array.shape[-1] for array in arrays)
    out = np.full((len(arrays), *arrays[0].shape[:-1], longest), fill, dtype=arrays[0].dtype)
    for row, array in zip(out, arrays, strict=True):
        row[..., : array.shape[-1]] = array
    return torch.from_numpy(out)
