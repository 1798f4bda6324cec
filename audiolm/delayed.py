"""All acoustic levels from one causal network, a frame per step: a third decoder for stages 2 and 3.

The delay pattern of MusicGen (Copet et al. 2023, arXiv 2306.05284, section 2.2): at step ``s`` the network draws level
``l`` of frame ``s - l``, so that a code sees all coarser codes of its frame, and a clip costs one step per frame
where AudioLM's stages 2 and 3 take one per code::

    step       0     1     2     3
    level 0   f0    f1    f2    f3
    level 1    -    f0    f1    f2
    level 2    -     -    f0    f1

Ours: a frame's semantic tokens are read with both neighbours by a small convolutional network (the whole condition is
there before the first code is drawn); code embeddings are factorised and shared between input and output; codes
and condition are hidden at random in training, so that sampling can be guided by what they change (Ho and
Salimans 2022, arXiv 2207.12598).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiolm import checkpoint
from audiolm.delay_pattern import HIDDEN, delay
from audiolm.delayed_drawing import Drawing
from audiolm.incremental import is_small
from audiolm.prompt_recall import Prompt
from audiolm.row_groups import by_groups
from audiolm.sampling import SamplingOptions, uniform_draws
from audiolm.tokens import FRAMES_PER_SEMANTIC
from audiolm.transformer import Transformer, TransformerConfig

__all__ = ["DelayedConfig", "DelayedRows", "DelayedStage", "nano_delayed", "paper_delayed"]

PART = "stage_delayed"
CODE_STD = 0.2
"""Spread of new code embeddings; the projections around them start where inputs and logits are of order one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DelayedConfig:
    """``code_dim``: width of a code's own embedding; ``window``: longest stretch drawn at once, in 20 ms frames;
    ``n_coarse``: levels drawn with the coarse stage's sampling options, the others take the fine stage's;
    ``context_layers``: convolutions over the semantic tokens, of ``context_kernel`` tokens (40 ms) each."""

    n_semantic: int = 1024
    n_coarse: int = 4
    n_levels: int = 12
    codebook_size: int = 1024
    code_dim: int = 128
    window: int = 500
    context_layers: int = 2
    context_kernel: int = 5
    transformer: TransformerConfig = field(default_factory=TransformerConfig)

    def __post_init__(self) -> None:
        for name in ("n_semantic", "n_coarse", "codebook_size", "code_dim", "context_layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use at least 1")
        if self.n_levels < self.n_coarse:
            raise ValueError(f"n_levels {self.n_levels} must be at least n_coarse {self.n_coarse}")
        if self.context_kernel < 1 or self.context_kernel % 2 == 0:
            raise ValueError(f"context_kernel is {self.context_kernel}; use an odd number, 1 or more")
        if self.window < 2 * FRAMES_PER_SEMANTIC:
            raise ValueError(f"window is {self.window} frames; use at least {2 * FRAMES_PER_SEMANTIC}")


def paper_delayed() -> DelayedConfig:
    """The width and depth of AudioLM's stages, with rotary positions; windows of 10 s as its coarse stage has."""
    transformer = TransformerConfig(positions="rope", norm="rms", feed_forward="gated", ff_dim=2730, qk_norm=True)
    return DelayedConfig(code_dim=256, transformer=transformer)


def nano_delayed(*, n_semantic: int, n_coarse: int = 4, n_fine: int = 8, codebook_size: int = 1024) -> DelayedConfig:
    """Seven million weights for all twelve levels: 14 MB as float16."""
    return DelayedConfig(
        n_semantic=n_semantic,
        n_coarse=n_coarse,
        n_levels=n_coarse + n_fine,
        codebook_size=codebook_size,
        code_dim=64,
        window=400,
        transformer=TransformerConfig(
            layers=6,
            heads=4,
            dim=256,
            ff_dim=640,
            dropout=0.1,
            positions="rope",
            norm="rms",
            feed_forward="gated",
            qk_norm=True,
        ),
    )


class DelayedRows(NamedTuple):
    """A batch as the network learns it.

    ``semantic``: ``[batch, token]`` at 25 Hz; ``codes``: ``[batch, level, frame]``, what is wanted; ``heard``: the same
    as the network may read it. :data:`HIDDEN` stands for what is not there or not to be seen.
    """

    semantic: Tensor
    codes: Tensor
    heard: Tensor


class DelayedStage(nn.Module):
    """Codes of every level, frame after frame, given semantic tokens of the whole stretch."""

    def __init__(self, config: DelayedConfig) -> None:
        super().__init__()
        self.config = config
        dim, levels = config.transformer.dim, config.n_levels
        self.semantic = nn.Embedding(config.n_semantic + 1, dim)
        nn.init.normal_(self.semantic.weight, std=1.0)
        half = config.context_kernel // 2
        self.context = nn.ModuleList(
            nn.Conv1d(dim, 2 * dim, config.context_kernel, padding=half) for _ in range(config.context_layers)
        )
        self.phase = nn.Linear(dim, FRAMES_PER_SEMANTIC * dim, bias=False)
        self.codes = nn.Parameter(torch.randn(levels, config.codebook_size, config.code_dim) * CODE_STD)
        self.into = nn.Parameter(torch.randn(levels, config.code_dim, dim) * 0.25 / (CODE_STD * config.code_dim**0.5))
        self.absent = nn.Parameter(torch.randn(levels, dim) * 0.05)
        self.transformer = Transformer(config.transformer)
        self.out = nn.Parameter(
            torch.randn(levels, dim, config.code_dim) * 0.3 / (CODE_STD * (dim * config.code_dim) ** 0.5)
        )
        self.bias = nn.Parameter(torch.zeros(levels, config.codebook_size))

    @classmethod
    def load(cls, folder: str | Path) -> DelayedStage:
        """Read a stage that :meth:`save` wrote; :class:`~audiolm.checkpoint.CheckpointError` where it does not fit."""
        mapping, state, _ = checkpoint.load_part(folder, PART)
        config = checkpoint.config_from_dict(DelayedConfig, mapping)
        return checkpoint.build(lambda: cls(config), state, folder).eval()

    def save(self, folder: str | Path, record: dict[str, object], state: dict[str, Tensor] | None = None) -> None:
        """Write configuration and weights (``state`` in place of this module's, for averaged weights)."""
        config = checkpoint.config_to_dict(self.config)
        checkpoint.save_part(folder, part=PART, config=config, state_dict=state or self.state_dict(), record=record)

    def condition(self, semantic: Tensor) -> Tensor:
        """What the semantic tokens ``[batch, token]`` say at each frame, ``[batch, 2 * token, dim]``."""
        there = (semantic != HIDDEN).unsqueeze(-1)
        x = self.semantic(torch.where(semantic == HIDDEN, self.config.n_semantic, semantic))
        for layer in self.context:
            value, gate = layer((x * there).transpose(1, 2)).transpose(1, 2).chunk(2, dim=-1)
            x = x + value * torch.sigmoid(gate)
        return self.phase(x).unflatten(-1, (FRAMES_PER_SEMANTIC, -1)).flatten(1, 2)

    def read(self, codes: Tensor) -> Tensor:
        """Sum over levels of the embeddings of ``codes`` ``[batch, level, step]``, ``[batch, step, dim]``."""
        absent = codes == HIDDEN
        rows = torch.stack([F.embedding(codes[:, i].clamp(min=0), table) for i, table in enumerate(self.codes)], dim=1)
        x = torch.einsum("blsc,lcd->bsd", rows * ~absent.unsqueeze(-1), self.into)
        return x + torch.einsum("bls,ld->bsd", absent.to(x.dtype), self.absent)

    def logits(self, hidden: Tensor, level: int) -> Tensor:
        """``[..., dim]`` to logits ``[..., code]`` of ``level``."""
        return hidden @ self.out[level] @ self.codes[level].T + self.bias[level]

    def states(self, heard: Tensor, semantic: Tensor) -> Tensor:
        """Vectors ``[batch, step, dim]`` of a whole pass over codes ``[batch, level, frame]`` and semantic tokens, from
        which :meth:`logits` reads any level."""
        heard = F.pad(delay(heard), (1, 0), value=HIDDEN)[..., :-1]
        steps = heard.shape[2]
        spoken = self.condition(semantic)[:, :steps]
        x = self.read(heard) + F.pad(spoken, (0, 0, 0, steps - spoken.shape[1]))
        return self.transformer(x, torch.arange(steps, device=x.device).expand(len(x), -1))

    @torch.inference_mode()
    def foretold(self, semantic: Tensor, codes: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each level what was foretold and what came: logits ``[frame, code]`` and the codes ``[frame]``.

        ``semantic``: ``[token]`` of the whole stretch, or all :data:`HIDDEN`; ``codes``: ``[level, frame]``.
        """
        hidden, frames = self.states(codes[None], semantic[None])[0], codes.shape[1]
        return [(self.logits(hidden[level : level + frames], level), codes[level]) for level in range(len(codes))]

    def loss(self, rows: DelayedRows, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weighted cross-entropy over levels (nats), then cross-entropy and accuracy of the coarse levels alone.

        ``weights``: ``[level]``; means over the codes that are there.
        """
        hidden = self.states(rows.heard, rows.semantic)
        wanted = delay(rows.codes)
        parts, right = [], hidden.new_zeros(())
        for level in range(self.config.n_levels):
            chosen = wanted[:, level] != HIDDEN
            logits = self.logits(hidden[chosen], level)  # [code, size]
            ids = wanted[:, level][chosen]
            parts.append(F.cross_entropy(logits, ids))
            if level < self.config.n_coarse:
                right = right + (logits.detach().argmax(-1) == ids).float().mean() / self.config.n_coarse
        losses = torch.stack(parts)
        return (losses * weights).sum() / weights.sum(), losses[: self.config.n_coarse].mean(), right

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
        prompts: Sequence[Prompt] = (),
    ) -> list[np.ndarray]:
        """Draw ``frames[i]`` frames of all levels after ``known[i]``; each row as if it were alone.

        ``conditions``: semantic tokens, one per 40 ms, over known and new frames; ``known``: ``[level, frame]``, may
        be empty; gives int64 ``[level, frames[i]]``. A row draws from its own generator only. ``prompts``: what each
        row was given at first, for :class:`~audiolm.sampling.Recall`; it may have left the window.
        """
        levels = self.config.n_levels
        if not frames:
            return []
        draws = uniform_draws(list(generators), [count * levels for count in frames]).unflatten(1, (-1, levels))

        @torch.inference_mode()  # which is a matter of each thread
        def draw(group: list[int]) -> list[np.ndarray]:
            heard, before = [conditions[i] for i in group], [known[i] for i in group]
            counts = [frames[i] for i in group]
            if max(counts) < 1:
                return [np.zeros((levels, 0), dtype=np.int64) for _ in counts]
            given = [prompts[i] for i in group] if prompts else ()
            return Drawing(self, heard, before, counts, options, given).draw(draws[group, : max(counts)])

        return by_groups(draw, len(frames), small=is_small(self.transformer))
