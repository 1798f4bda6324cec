"""The parts of a model at work on a batch of rows: semantic tokens, then codes of all levels, as far as is asked.

Both draws can be made in one go or in pieces; the tokens are the same, so that streaming equals the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from audiolm.codec.protocol import AcousticTokenizer
from audiolm.delayed import DelayedStage
from audiolm.parallel import ParallelStage
from audiolm.sampling import Decoder, SamplingOptions, check_decoder
from audiolm.semantic.tokenizer import SemanticTokenizer
from audiolm.stages import Stage
from audiolm.tokens import FRAMES_PER_SEMANTIC, Runs, deduplicate
from audiolm.windows import Sliding, autoregressive, row_generator, sample_blocks, whole_windows

__all__ = ["AcousticDraw", "Parts", "SemanticDraw", "decoders_of"]

SEMANTIC, COARSE, FINE, PARALLEL, DELAYED = 1, 2, 3, 4, 5
"""Places of the pipeline; each has its own random stream of an item's seed."""
PIECE_FRAMES = 50
"""Frames (1 s) that a model without a fine stage gives at a time."""
END_STRIDE = 50
"""Semantic tokens drawn between two looks whether every row has ended."""


class Parts(NamedTuple):
    """Frozen tokenizers, the language models, and other decoders of the acoustic codes where there are some.

    A codec of few levels needs no fine stage (AudioLM on piano: three levels, all drawn by the coarse stage).
    """

    codec: AcousticTokenizer
    tokenizer: SemanticTokenizer
    semantic: Stage
    coarse: Stage
    fine: Stage | None
    parallel: ParallelStage | None = None
    delayed: DelayedStage | None = None

    @property
    def device(self) -> torch.device:
        return self.coarse.embedding.weight.device

    @property
    def levels(self) -> int:
        """Codec levels that the stages model."""
        n_coarse = self.coarse.config.layout.n_coarse
        return n_coarse if self.fine is None else n_coarse + self.fine.config.layout.n_fine


def decoders_of(parts: Parts) -> tuple[Decoder, ...]:
    """What can draw the acoustic codes of this model; the paper's stages always can."""
    others: tuple[tuple[Decoder, object], ...] = (("parallel", parts.parallel), ("delayed", parts.delayed))
    return ("autoregressive", *(name for name, stage in others if stage is not None))


class SemanticDraw:
    """Semantic tokens after what was heard, at 25 Hz, for ``frames`` frames per row."""

    def __init__(
        self,
        parts: Parts,
        heard: Sequence[np.ndarray],
        frames: int,
        seeds: Sequence[int],
        options: SamplingOptions,
    ) -> None:
        config = parts.semantic.config
        known = [deduplicate(row).tokens if config.deduplicate and len(row) else row for row in heard]
        count = max(1, round(frames / config.frames_per_token))
        self._edges = np.arange(count + 1) * frames // count
        self._sliding = Sliding(
            autoregressive(parts.semantic, options.semantic, options.pauses),
            [row[None] for row in known],
            [count] * len(known),
            [row_generator(seed, SEMANTIC) for seed in seeds],
        )
        self._empty = [np.zeros(0, dtype=np.int64)] * len(known)

    def advance(self, frames: int) -> None:
        """Draw until every row has this many new frames, or all it is to have."""
        tokens = int(np.searchsorted(self._edges, frames))
        self._sliding.advance(self._empty, [before + tokens for before in self._sliding.known])

    def draw_until_end(self) -> None:
        """Draw until every row has drawn its end of sequence, at most all frames; a row has one token at least."""
        sliding = self._sliding
        sliding.advance(self._empty, [before + 1 for before in sliding.known])
        at = 1
        while any(row.shape[1] < total for row, total in zip(sliding.targets, sliding.totals, strict=True)):
            at += END_STRIDE
            sliding.advance(self._empty, [before + at for before in sliding.known], may_end=True)

    @property
    def frames(self) -> list[np.ndarray]:
        """New tokens so far, one per 40 ms: ``[frame]`` per row."""
        return [Runs(row[0], np.diff(self._edges[: row.shape[1] + 1])).expand() for row in self._sliding.new]


class AcousticDraw:
    """Codes of all levels after what is known, for ``frames`` frames per row, by any decoder."""

    def __init__(
        self,
        parts: Parts,
        known: Sequence[np.ndarray],
        frames: Sequence[int],
        seeds: Sequence[int],
        options: SamplingOptions,
        decoder: Decoder,
    ) -> None:
        self._parts, self._seeds, self._options = parts, list(seeds), options
        self._given = [0] * len(known)
        self._whole = decoder != "autoregressive"
        check_decoder(decoder)
        if self._whole:
            stage, place = (parts.parallel, PARALLEL) if decoder == "parallel" else (parts.delayed, DELAYED)
            if stage is None:
                there = ", ".join(decoders_of(parts))
                raise ValueError(f"this model has no {decoder} decoder; it has {there}, or train that part")
            generators = [row_generator(seed, place) for seed in seeds]
            self._sliding = Sliding(whole_windows(stage, options), known, frames, generators)
        else:
            coarse = [row[: parts.coarse.config.layout.n_coarse] for row in known]
            generators = [row_generator(seed, COARSE) for seed in seeds]
            self._sliding = Sliding(autoregressive(parts.coarse, options.coarse), coarse, frames, generators)

    def next_goal(self, row: int) -> int:
        """The fewest new frames of ``row`` beyond those already given that come out whole: a fine block or a window."""
        sliding = self._sliding
        new, total = self._given[row], sliding.totals[row] - sliding.known[row]
        if self._whole:
            return sliding.reach(row, sliding.known[row] + new + 1) - sliding.known[row]
        block = PIECE_FRAMES if self._parts.fine is None else self._parts.fine.config.window
        return min(total, (new // block + 1) * block)

    def semantic_needed(self, row: int, goal: int) -> int:
        """Semantic tokens, known ones included, that ``row`` needs before its new frame ``goal - 1`` can be drawn."""
        return -(-self._sliding.reach(row, self._sliding.known[row] + goal) // FRAMES_PER_SEMANTIC)

    def advance(self, semantic: Sequence[np.ndarray], goals: Sequence[int]) -> list[np.ndarray]:
        """Codes ``[level, frame]`` of the frames from those already given up to each row's goal.

        ``semantic``: tokens of known and new frames, as far as :meth:`semantic_needed` says. Before its last call, a
        row's goals are those of :meth:`next_goal`.
        """
        sliding = self._sliding
        sliding.advance(semantic, [before + goal for before, goal in zip(sliding.known, goals, strict=True)])
        pieces = [row[:, start:goal] for row, start, goal in zip(sliding.new, self._given, goals, strict=True)]
        if not self._whole and self._parts.fine is not None:
            blocks = [start // self._parts.fine.config.window for start in self._given]
            fine = sample_blocks(self._parts.fine, pieces, self._options.fine, self._seeds, FINE, blocks)
            pieces = [np.concatenate(pair) for pair in zip(pieces, fine, strict=True)]
        self._given = [start + piece.shape[1] for start, piece in zip(self._given, pieces, strict=True)]
        return pieces
