"""Training of the three language-model stages on cached tokens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from torch import Tensor

from audiolm.dataset import Chances
from audiolm.optimisation import OptimiserConfig, module_randomness
from audiolm.runtime import Runtime
from audiolm.stages import Stage, StageConfig
from audiolm.token_task import TokenTask
from audiolm.tokens import FRAMES_PER_SEMANTIC, TokenRows, deduplicate

__all__ = ["StageTask", "StageTraining", "TokenisedUtterance", "lengths_of"]


class TokenisedUtterance(NamedTuple):
    """Cached tokens of one recording: ``semantic`` ``[frame at 25 Hz]``, ``codes`` ``[level, frame at 50 Hz]``; any
    integers, in memory or mapped from a file."""

    semantic: np.ndarray
    codes: np.ndarray


def lengths_of(train: Sequence[TokenisedUtterance], dev: Sequence[TokenisedUtterance]) -> tuple[list[int], list[int]]:
    """Semantic tokens of each utterance."""
    return [len(item.semantic) for item in train], [len(item.semantic) for item in dev]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTraining:
    """``batch`` crops per step; ``validation_batches``: fixed batches of held-out speech."""

    optimiser: OptimiserConfig = field(default_factory=lambda: OptimiserConfig(steps=1000, learning_rate=1e-3))
    batch: int = 8
    validation_batches: int = 4
    seed: int = 0


class _Crop(NamedTuple):
    condition: np.ndarray
    target: np.ndarray
    ends: bool


class StageTask(TokenTask[Stage, TokenRows]):
    """One stage on lists of cached utterances; the training loop drives it."""

    def __init__(
        self,
        train: Sequence[TokenisedUtterance],
        dev: Sequence[TokenisedUtterance],
        config: StageConfig,
        training: StageTraining | None = None,
        runtime: Runtime | None = None,
        start: Callable[[Stage], None] | None = None,
    ) -> None:
        """``start`` sets first weights other than random ones, before the runtime may cut the model into shards."""
        self.config = config
        self.name = config.part
        self.training = training or StageTraining()
        self.runtime = runtime or Runtime()
        self.train = [self._checked(item, f"training utterance {i}") for i, item in enumerate(train)]
        self.dev = [self._checked(item, f"development utterance {i}") for i, item in enumerate(dev)]
        if not self.train or not self.dev:
            raise ValueError(
                f"{self.name}: {len(train)} training, {len(dev)} development utterances; give some of both"
            )
        if config.layout.kind == "semantic" and config.deduplicate:
            frames = sum(len(item.semantic) for item in self.train)
            runs = sum(len(deduplicate(item.semantic).tokens) for item in self.train)
            self.config = dataclasses.replace(config, frames_per_token=frames / runs)
        with module_randomness(self.training.seed, 2**31 - 1):
            model = Stage(self.config)
        self.ready(model, lengths_of(self.train, self.dev), start)

    def drawn(self, rng: np.random.Generator) -> tuple[TokenRows, np.ndarray]:
        batch = self._rows(self._crops(self.train, self.chances, rng))
        return batch, (batch.targets >= 0).sum(axis=1)

    def losses(self, batch: TokenRows, rows: slice) -> dict[str, Tensor]:
        return self.run.loss(TokenRows(*(values[rows] for values in batch)))._asdict()

    def held_out(self, rng: np.random.Generator) -> dict[str, Tensor]:
        return self.losses(self._rows(self._crops(self.dev, self.dev_chances, rng)), slice(None))

    def _crops(self, speech: Sequence[TokenisedUtterance], chances: Chances, rng: np.random.Generator) -> list[_Crop]:
        return [self._crop(speech[index], rng) for index in chances.draw(self.training.batch, rng)]

    def _rows(self, crops: Sequence[_Crop]) -> TokenRows:
        conditions, targets, ends = zip(*crops, strict=True)
        return self.model.batch(conditions, targets, ends)

    def _crop(self, item: TokenisedUtterance, rng: np.random.Generator) -> _Crop:
        """A random stretch of at most the stage's window; codes and semantic tokens of the same moments, int64."""
        layout = self.config.layout
        if layout.kind == "semantic":
            semantic = item.semantic.astype(np.int64)
            tokens = deduplicate(semantic).tokens if self.config.deduplicate else semantic
            start = int(rng.integers(max(1, len(tokens) - self.config.window + 1)))
            piece = tokens[start : start + self.config.window]
            return _Crop(np.zeros(0, dtype=np.int64), piece[None], start + len(piece) == len(tokens))
        width = max(1, self.config.window // FRAMES_PER_SEMANTIC)
        start = int(rng.integers(max(1, len(item.semantic) - width + 1)))
        frames = slice(start * FRAMES_PER_SEMANTIC, (start + width) * FRAMES_PER_SEMANTIC)
        codes = item.codes[:, frames].astype(np.int64)
        coarse = codes[: layout.n_coarse]
        if layout.kind == "fine":
            return _Crop(coarse, codes[layout.n_coarse : layout.n_coarse + layout.n_fine], False)
        tokens = item.semantic[start : start + width].astype(np.int64)
        return _Crop(deduplicate(tokens).tokens if self.config.deduplicate else tokens, coarse, False)

    def _checked(self, item: TokenisedUtterance, where: str) -> TokenisedUtterance:
        semantic, codes = np.asarray(item.semantic), np.asarray(item.codes)
        layout = self.config.layout
        levels = {"semantic": 1, "coarse": layout.n_coarse, "fine": layout.n_coarse + layout.n_fine}[layout.kind]
        if semantic.ndim != 1 or codes.ndim != 2 or len(semantic) == 0 or len(codes) < levels:
            raise ValueError(
                f"{where}: semantic {semantic.shape} and codes {codes.shape}; give [frame] and [{levels}, frame]"
            )
        if not 0 <= len(semantic) * FRAMES_PER_SEMANTIC - codes.shape[1] < FRAMES_PER_SEMANTIC:
            raise ValueError(
                f"{where}: {len(semantic)} semantic tokens and {codes.shape[1]} acoustic frames do not cover the same"
                " time; make both from the same samples"
            )
        return TokenisedUtterance(semantic, codes)
