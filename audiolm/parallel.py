"""All acoustic levels from one bidirectional network by masked parallel decoding: a second decoder for stages 2 and 3.

After SoundStorm (Borsos et al. 2023, arXiv 2305.09636): one vector per 20 ms frame, the sum of the embeddings of its
semantic token and of its code (or mask) at every level; levels are filled coarse to fine, each in a few passes that
keep the most confident codes first. Passes, not tokens, are what a clip costs.

Deviations: code embeddings are factorised and shared between input and output, so that twelve codebooks fit a small
checkpoint; our conformer (layer norm, rotary positions).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiolm import checkpoint
from audiolm.sampling import SamplingOptions, choose, uniform_draws
from audiolm.semantic.conformer import Conformer, ConformerConfig
from audiolm.tokens import FRAMES_PER_SEMANTIC, checked_ids

__all__ = ["MaskedRows", "ParallelConfig", "ParallelStage", "nano_parallel", "paper_parallel", "still_masked"]

PART = "stage_parallel"
CODE_STD = 0.2
"""Spread of new code embeddings; the projections around them start where inputs and logits are of order one third."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelConfig:
    """``code_dim``: width of a code's own embedding; ``window``: longest stretch decoded at once, in 20 ms frames;
    ``n_coarse``: levels drawn with the coarse stage's sampling options, the others take the fine stage's."""

    n_semantic: int = 1024
    n_coarse: int = 4
    n_levels: int = 12
    codebook_size: int = 1024
    code_dim: int = 1024
    window: int = 1500
    conformer: ConformerConfig = field(default_factory=lambda: ConformerConfig(dim=1024, heads=16, layers=12))

    def __post_init__(self) -> None:
        for name in ("n_semantic", "n_coarse", "codebook_size", "code_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use at least 1")
        if self.n_levels < self.n_coarse:
            raise ValueError(f"n_levels {self.n_levels} must be at least n_coarse {self.n_coarse}")
        if self.window < 2 * FRAMES_PER_SEMANTIC:
            raise ValueError(f"window is {self.window} frames; use at least {2 * FRAMES_PER_SEMANTIC}")


def paper_parallel() -> ParallelConfig:
    """SoundStorm's size (section 4.1): 12 layers, 16 heads, width 1024, feed-forward 4096, kernel 5, 30 s."""
    conformer = ConformerConfig(dim=1024, heads=16, layers=12, ff_factor=4, kernel=5)
    return ParallelConfig(conformer=conformer)


def nano_parallel(*, n_semantic: int, n_coarse: int = 4, n_fine: int = 8, codebook_size: int = 1024) -> ParallelConfig:
    """Three million weights for all twelve levels: 6 MB as float16."""
    return ParallelConfig(
        n_semantic=n_semantic,
        n_coarse=n_coarse,
        n_levels=n_coarse + n_fine,
        codebook_size=codebook_size,
        code_dim=40,
        window=200,
        conformer=ConformerConfig(dim=192, heads=4, layers=4, ff_factor=2, kernel=5),
    )


class MaskedRows(NamedTuple):
    """A batch as the network reads it.

    ``semantic``: ``[batch, frame]`` at the codes' rate; ``codes``: ``[batch, level, frame]``; ``masked``: bool of the
    same shape, True where the network may not see the code; ``valid``: bool ``[batch, frame]``, False at padding.
    """

    semantic: Tensor
    codes: Tensor
    masked: Tensor
    valid: Tensor


class ParallelStage(nn.Module):
    """Codes of every level given semantic tokens and what of the codes is already known."""

    def __init__(self, config: ParallelConfig) -> None:
        super().__init__()
        self.config = config
        dim, levels = config.conformer.dim, config.n_levels
        self.semantic = nn.Embedding(config.n_semantic, dim)
        nn.init.normal_(self.semantic.weight, std=0.5)
        self.codes = nn.Parameter(torch.randn(levels, config.codebook_size, config.code_dim) * CODE_STD)
        self.into = nn.Parameter(torch.randn(levels, config.code_dim, dim) * 0.25 / (CODE_STD * config.code_dim**0.5))
        self.masked = nn.Parameter(torch.randn(levels, dim) * 0.05)
        self.conformer = Conformer(config.conformer)
        self.out = nn.Parameter(
            torch.randn(levels, dim, config.code_dim) * 0.3 / (CODE_STD * (dim * config.code_dim) ** 0.5)
        )
        self.bias = nn.Parameter(torch.zeros(levels, config.codebook_size))

    @classmethod
    def load(cls, folder: str | Path) -> ParallelStage:
        """Read a stage that :meth:`save` wrote; :class:`~audiolm.checkpoint.CheckpointError` where it does not fit."""
        mapping, state, _ = checkpoint.load_part(folder, PART)
        config = checkpoint.config_from_dict(ParallelConfig, mapping)
        return checkpoint.build(lambda: cls(config), state, folder).eval()

    def save(self, folder: str | Path, record: dict[str, object], state: dict[str, Tensor] | None = None) -> None:
        """Write configuration and weights (``state`` in place of this module's, for averaged weights)."""
        config = checkpoint.config_to_dict(self.config)
        checkpoint.save_part(folder, part=PART, config=config, state_dict=state or self.state_dict(), record=record)

    def forward(self, rows: MaskedRows) -> Tensor:
        """Hidden vectors ``[batch, frame, dim]``, from which :meth:`logits` reads any level."""
        seen = ~rows.masked
        tables = torch.stack([F.embedding(rows.codes[:, level], table) for level, table in enumerate(self.codes)], 1)
        x = torch.einsum("bltc,lcd->btd", tables * seen.unsqueeze(-1), self.into)
        x = x + torch.einsum("blt,ld->btd", rows.masked.to(x.dtype), self.masked)
        return self.conformer(x + self.semantic(rows.semantic), rows.valid)

    def logits(self, hidden: Tensor, level: int) -> Tensor:
        """``[..., dim]`` to logits ``[..., code]`` of ``level``."""
        return hidden @ self.out[level] @ self.codes[level].T + self.bias[level]

    def loss(self, rows: MaskedRows, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy (nats) and accuracy, means over the codes with ``weights`` ``[batch, level, frame]``."""
        hidden = self(rows)
        total = hidden.new_zeros(())
        right = hidden.new_zeros(())
        for level in range(self.config.n_levels):
            chosen = weights[:, level] > 0
            weight = weights[:, level][chosen]
            logits = self.logits(hidden[chosen], level)  # [code learnt, code]
            wanted = rows.codes[:, level][chosen]
            total = total + (F.cross_entropy(logits, wanted, reduction="none") * weight).sum()
            right = right + ((logits.detach().argmax(-1) == wanted) * weight).sum()
        whole = weights.sum().clamp_min(1e-9)
        return total / whole, right / whole

    @torch.no_grad()
    def start_from_counts(self, counts: Tensor) -> None:
        """Begin with how often each code occurs, ``[level, code]``, so that training learns what differs from that."""
        smooth = counts.to(self.bias) + 1.0
        self.bias.copy_((smooth / smooth.mean(dim=1, keepdim=True)).log())

    @torch.inference_mode()
    def sample(
        self,
        conditions: Sequence[np.ndarray],
        known: Sequence[np.ndarray],
        frames: Sequence[int],
        options: SamplingOptions,
        generators: Sequence[torch.Generator],
    ) -> list[np.ndarray]:
        """Draw ``frames[i]`` frames of all levels after ``known[i]``; each row as if it were alone.

        ``conditions``: semantic tokens, one per 40 ms, over known and new frames; ``known``: ``[level, frame]``, may
        be empty; gives int64 ``[level, frames[i]]``. A row draws from its own generator only, the same number of
        times in any company.
        """
        if not frames or max(frames) < 1:
            return [np.zeros((self.config.n_levels, 0), dtype=np.int64) for _ in frames]
        rows = self._rows(conditions, known, frames)
        starts = [np.asarray(row).shape[1] for row in known]
        for level in range(self.config.n_levels):
            stage_options = options.coarse if level < self.config.n_coarse else options.fine
            passes = options.unmasking.passes_at(level)
            for step in range(passes):
                places = rows.masked[:, level]
                hidden = self(rows)[places]
                draws = _scattered(places, starts, frames, generators)[places]
                logits = self.logits(hidden, level)
                drawn = choose(logits, draws, stage_options)
                rows.codes[:, level][places] = drawn
                if step + 1 == passes:
                    rows.masked[:, level] = False
                    continue
                belief = logits.log_softmax(-1).gather(1, drawn.unsqueeze(1)).squeeze(1)
                noise = _scattered(places, starts, frames, generators)[places].clamp(1e-9, 1 - 1e-9)
                heat = options.unmasking.noise * (1 - (step + 1) / passes) * (stage_options.temperature > 0)
                belief = belief - heat * torch.log(-torch.log(noise)).to(belief.dtype)
                rows.masked[:, level] = _least_certain(places, belief, frames, step + 1, passes)
        codes = rows.codes.cpu().numpy()
        return [codes[i, :, start : start + n] for i, (start, n) in enumerate(zip(starts, frames, strict=True))]

    def _rows(self, conditions: Sequence[np.ndarray], known: Sequence[np.ndarray], frames: Sequence[int]) -> MaskedRows:
        config = self.config
        totals = [np.asarray(row).shape[1] + n for row, n in zip(known, frames, strict=True)]
        shape = (len(totals), max(totals))
        semantic = np.zeros(shape, dtype=np.int64)
        codes = np.zeros((len(totals), config.n_levels, max(totals)), dtype=np.int64)
        masked = np.zeros_like(codes, dtype=bool)
        valid = np.zeros(shape, dtype=bool)
        for i, (condition, row, total) in enumerate(zip(conditions, known, totals, strict=True)):
            codes[i, :, : row.shape[1]] = self._checked(row, "known codes", config.codebook_size)
            tokens = np.repeat(self._checked(condition, "semantic tokens", config.n_semantic), FRAMES_PER_SEMANTIC)
            if len(tokens) < total:
                raise ValueError(
                    f"{len(tokens)} frames of semantic tokens for {total} frames of codes;"
                    " give the condition of the whole stretch"
                )
            semantic[i, :total] = tokens[:total]
            masked[i, :, row.shape[1] : total] = True
            valid[i, :total] = True
        return MaskedRows(*(torch.from_numpy(a).to(self.bias.device) for a in (semantic, codes, masked, valid)))

    def _checked(self, values: np.ndarray, what: str, size: int) -> np.ndarray:
        return checked_ids(values, what, size, self.config.n_levels, "parallel decoder")


def still_masked(step: int, passes: int, count: int) -> int:
    """Codes of ``count`` that stay masked after pass ``step`` of ``passes``: the cosine schedule (section 3.3)."""
    return math.floor(math.cos(math.pi / 2 * step / passes) * count) if step < passes else 0


def _scattered(
    places: Tensor, starts: Sequence[int], frames: Sequence[int], generators: Sequence[torch.Generator]
) -> Tensor:
    """Uniform draws ``[batch, frame]``: row ``i`` has ``frames[i]`` of its own generator from ``starts[i]`` on."""
    draws = uniform_draws(list(generators), list(frames))
    spread = torch.zeros(places.shape, dtype=draws.dtype)
    for i, (start, count) in enumerate(zip(starts, frames, strict=True)):
        spread[i, start : start + count] = draws[i, :count]
    return spread.to(places.device)


def _least_certain(places: Tensor, belief: Tensor, frames: Sequence[int], step: int, passes: int) -> Tensor:
    """Bool ``[batch, frame]``: the masked ``places`` that stay so, each row's least believed ones."""
    scores = torch.full(places.shape, float("inf"), dtype=belief.dtype, device=places.device)
    scores[places] = belief
    rank = scores.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    kept = torch.tensor([still_masked(step, passes, count) for count in frames], device=places.device)
    return (rank < kept.unsqueeze(1)) & places
