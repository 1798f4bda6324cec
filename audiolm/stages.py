"""Semantic, coarse and fine stage: three configurations of one class over one transformer."""

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
from audiolm.incremental import decoder_for, is_small
from audiolm.pause_limit import PauseLimit
from audiolm.precision import Precision, compress
from audiolm.row_groups import by_groups
from audiolm.sampling import Pauses, StageSampling, choose, uniform_draws
from audiolm.tokens import Layout, TokenRows, stack
from audiolm.transformer import Transformer, TransformerConfig

__all__ = ["Stage", "StageConfig", "StageLosses", "nano_stage", "paper_stage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig:
    """One stage.

    ``window``: longest target, in its frames (semantic: 40 ms, coarse and fine: 20 ms); ``deduplicate``: drop
    immediate repeats of semantic tokens (stages 1 and 2, AudioLM section III-B); ``frames_per_token``: mean run
    length of the training speech, by which stage 1 turns drawn tokens back into frames (1 where repeats are kept);
    ``aligned``: add the condition ids of the same moment to each target position's input (our deviation; needs a
    condition with its timing).
    """

    layout: Layout
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    window: int = 500
    deduplicate: bool = False
    frames_per_token: float = 1.0
    aligned: bool = False

    def __post_init__(self) -> None:
        if self.window < 2:
            raise ValueError(f"window is {self.window} frames; use at least 2")
        timed = self.aligned or self.layout.time_positions
        if self.deduplicate and timed and self.layout.kind == "coarse":
            raise ValueError("deduplicate removes the timing that aligned and time_positions need; choose one")
        if self.frames_per_token < 1:
            raise ValueError(f"frames_per_token is {self.frames_per_token}; a token lasts at least one frame")
        if self.aligned and self.layout.kind == "semantic":
            raise ValueError("the semantic stage has no condition to align; set aligned to false")

    @property
    def part(self) -> str:
        """Name of this stage's checkpoint part."""
        return f"stage_{self.layout.kind}"


WINDOW_S = {"semantic": 30.0, "coarse": 10.0, "fine": 3.0}
"""Training crops (AudioLM, section IV-A)."""
FRAME_RATE_HZ = {"semantic": 25, "coarse": 50, "fine": 50}


def paper_stage(layout: Layout) -> StageConfig:
    """As published: 12 layers of width 1024, T5 bias, 30, 10 and 3 s, de-duplicated semantic tokens."""
    window = int(WINDOW_S[layout.kind] * FRAME_RATE_HZ[layout.kind])
    return StageConfig(layout=layout, window=window, deduplicate=layout.kind != "fine")


NANO_WINDOW_S = {"semantic": 20.0, "coarse": 4.0, "fine": 1.0}
NANO_WIDTH = {"semantic": 256, "coarse": 256, "fine": 96}
"""The fine stage has the largest vocabulary and the least to gain: most of its weights would be embeddings."""
NANO_LAYERS = 4


def nano_stage(
    kind: str, *, n_semantic: int, n_coarse: int = 4, n_fine: int = 8, codebook_size: int = 1024
) -> StageConfig:
    """Small enough for two CPU cores.

    Deviations: rotary positions by time, aligned condition, repeats kept, shorter crops.
    """
    layout = Layout(
        kind=kind,  # type: ignore[arg-type]
        n_semantic=n_semantic,
        n_coarse=n_coarse,
        n_fine=n_fine,
        codebook_size=codebook_size,
        time_positions=True,
    )
    transformer = TransformerConfig(
        layers=NANO_LAYERS,
        heads=4,
        dim=NANO_WIDTH[kind],
        ff_dim=2 * NANO_WIDTH[kind],
        dropout=0.1,
        positions="rope",
        norm="rms",
        feed_forward="gated",
        qk_norm=True,
    )
    window = int(NANO_WINDOW_S[kind] * FRAME_RATE_HZ[kind])
    return StageConfig(layout=layout, transformer=transformer, window=window, aligned=kind != "semantic")


class StageLosses(NamedTuple):
    """Means over the learnt positions: cross-entropy (nats) and share of likeliest ids that are right."""

    loss: Tensor
    accuracy: Tensor


class Stage(nn.Module):
    """A language model over one stage's layout; its head only ever sees the legal slice of the vocabulary."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.config = config
        self.precision: Precision = "float32"
        layout, dim = config.layout, config.transformer.dim
        self.embedding = nn.Embedding(layout.vocabulary, dim)
        self.role = nn.Embedding(layout.n_roles, dim)
        self.align = nn.Linear(dim, dim, bias=False) if config.aligned else None
        self.transformer = Transformer(config.transformer)
        self.head = nn.Parameter(torch.randn(layout.end + 1 - layout.condition_size, dim) * 0.02)
        for table in (self.embedding, self.role):
            nn.init.normal_(table.weight, std=0.05)

    @classmethod
    def load(cls, folder: str | Path, kind: str) -> Stage:
        """Read a stage that :meth:`save` wrote; :class:`~audiolm.checkpoint.CheckpointError` where it does not fit."""
        mapping, state, _ = checkpoint.load_part(folder, f"stage_{kind}")
        config = checkpoint.config_from_dict(StageConfig, mapping)
        if config.layout.kind != kind:
            raise checkpoint.CheckpointError(
                f"{Path(folder) / checkpoint.CONFIG_NAME}: layout is {config.layout.kind!r}, not {kind!r};"
                " copy it again"
            )
        return checkpoint.build(lambda: cls(config), state, folder).eval()

    def save(self, folder: str | Path, record: dict[str, object], state: dict[str, Tensor] | None = None) -> None:
        """Write configuration and weights (``state`` in place of this module's, for averaged weights)."""
        if self.precision != "float32":
            raise ValueError(f"stage weights are held as {self.precision}; save the stage before compress()")
        checkpoint.save_part(
            folder,
            part=self.config.part,
            config=checkpoint.config_to_dict(self.config),
            state_dict=state or self.state_dict(),
            record=record,
        )

    def compress(self, precision: Precision) -> Stage:
        """Hold the transformer's matrices in fewer bits from now on, for faster generation; gives the stage itself.

        Raises:
            ValueError: an unknown precision, one that this device does not gain from, or a stage already compressed.
        """
        if self.precision != "float32":
            raise ValueError(f"stage weights are held as {self.precision} already; load the stage again")
        compress(self.transformer.eval().requires_grad_(False), precision)
        self.precision = precision
        return self

    def batch(self, conditions: Sequence[np.ndarray], targets: Sequence[np.ndarray], ends: Sequence[bool]) -> TokenRows:
        """Training rows: conditions and targets as :meth:`Layout.rows` takes them, padded on the right."""
        layout = self.config.layout
        rows = [layout.rows(c, t, ends=e) for c, t, e in zip(conditions, targets, ends, strict=True)]
        return stack(rows, left=False, pad_id=layout.end)

    def loss(self, batch: TokenRows) -> StageLosses:
        """Cross-entropy of the target ids, each within its level's legal ids.

        Right padding needs no mask: attention is causal, and padded positions have no target.
        """
        hidden = self._hidden(batch)
        targets = self._tensor(batch.targets)
        roles = self._tensor(batch.roles)
        total = hidden.new_zeros(())
        right = hidden.new_zeros(())
        for level in range(self.config.layout.target_levels):
            chosen = (targets >= 0) & (roles == level + 1)
            layout = self.config.layout
            logits = hidden[chosen] @ self.head[layout.head_rows(level, may_end=True)].T  # [position, legal id]
            wanted = targets[chosen] - layout.legal_range(level)[0]
            total = total + F.cross_entropy(logits, wanted, reduction="sum")
            right = right + (logits.detach().argmax(-1) == wanted).sum()
        count = max(1, int((targets >= 0).sum()))
        return StageLosses(total / count, right / count)

    @torch.inference_mode()
    def nats(self, condition: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Minus the log-probability of each target code, given all before it: float64 ``[level, frame]`` in nats.

        ``condition`` and ``target`` as :meth:`Layout.rows` takes them; one sequence, so that no other one can matter.
        """
        told = self.foretold(condition, target)
        found = [F.cross_entropy(logits.float(), codes, reduction="none") for logits, codes in told]
        return torch.stack(found).double().cpu().numpy()

    @torch.inference_mode()
    def foretold(self, condition: np.ndarray, target: np.ndarray) -> list[tuple[Tensor, Tensor]]:
        """For each level what was foretold and what came: logits ``[frame, code]`` and the target codes ``[frame]``."""
        layout = self.config.layout
        batch = self.batch([condition], [target], [False])
        hidden, targets = self._hidden(batch)[0], self._tensor(batch.targets)[0]
        chosen = hidden[targets >= 0].unflatten(0, (-1, layout.target_levels))  # [frame, level, dim]
        wanted = targets[targets >= 0].unflatten(0, (-1, layout.target_levels))
        return [
            (chosen[:, level] @ self.head[layout.head_rows(level)].T, wanted[:, level] - layout.legal_range(level)[0])
            for level in range(layout.target_levels)
        ]

    def logits(self, batch: TokenRows, level: int) -> Tensor:
        """Logits of the legal ids of ``level`` at every position, ``[batch, token, legal id]`` (tests and scoring)."""
        return self._hidden(batch) @ self.head[self.config.layout.head_rows(level)].T

    @torch.inference_mode()
    def sample(
        self,
        conditions: Sequence[np.ndarray],
        known: Sequence[np.ndarray],
        frames: Sequence[int],
        options: StageSampling,
        generators: Sequence[torch.Generator],
        *,
        may_end: bool = False,
        pauses: Pauses | None = None,
    ) -> list[np.ndarray]:
        """Draw ``frames[i]`` target frames after ``known[i]``; each row as if it were alone.

        ``conditions``: as :meth:`Layout.condition_ids` takes them; ``known``: ``[level, frame]``, may be empty;
        gives int64 codes ``[level, frames[i]]`` without ``known``. A row's draws come from its own generator only.
        ``may_end``: the semantic stage may draw its end, given as code ``n_semantic``; what a row has after that
        means nothing. ``pauses``: of the semantic stage, how long they may be.
        """
        layout = self.config.layout
        if not frames or max(frames) < 1:
            return [np.zeros((layout.target_levels, 0), dtype=np.int64) for _ in frames]
        levels = layout.target_levels
        rows = [layout.prefix(c, k) for c, k in zip(conditions, known, strict=True)]
        self._check_span(rows, known, frames)
        draws = uniform_draws(list(generators), [n * levels for n in frames])
        may_end = may_end and layout.kind == "semantic"
        limited = pauses if pauses is not None and pauses.longest else None
        drawn = by_groups(
            lambda group: self._draw(
                [rows[i] for i in group],
                draws[group, : max(frames[i] for i in group) * levels],
                options,
                PauseLimit(limited, [known[i] for i in group], layout.n_semantic) if limited else None,
                may_end=may_end,
            ),
            len(rows),
            small=is_small(self.transformer),
        )
        return [layout.target_codes(row[: n * levels]) for row, n in zip(drawn, frames, strict=True)]

    @torch.inference_mode()
    def _draw(
        self,
        rows: list[TokenRows],
        draws: Tensor,
        options: StageSampling,
        limit: PauseLimit | None = None,
        *,
        may_end: bool,
    ) -> list[np.ndarray]:
        """Each row's ids ``[step]`` after the prefixes ``rows``; ``draws``: ``[row, step]``."""
        layout, device = self.config.layout, self.head.device
        batch = stack(rows, left=True, pad_id=layout.end)
        levels, steps, width = layout.target_levels, draws.shape[1], batch.ids.shape[1]
        valid = torch.from_numpy(np.stack([np.arange(width) >= width - row.ids.shape[1] for row in rows]))
        room = width + max(steps - 1, 0)
        decoder = decoder_for(self.transformer, self.transformer.cache(len(rows), room, valid.to(device)))
        context = self._context(batch)
        frame, position = self._tensor(batch.frames[:, -1]), self._tensor(batch.positions[:, -1])
        heads = [self.head[layout.head_rows(level, may_end=may_end)] for level in range(levels)]
        firsts = [layout.legal_range(level)[0] for level in range(levels)]
        chances = draws.T.contiguous().to(device)
        drawn = torch.full((steps, len(rows)), layout.end, dtype=torch.int64, device=device)
        ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
        moment: Tensor | None = None
        hidden = decoder.read(self._inputs(batch, context), self._tensor(batch.positions))
        for step in range(steps):
            level = step % levels
            logits = F.linear(hidden, heads[level])
            codes = choose(logits if limit is None else limit.applied(logits), chances[step], options)
            if limit is not None:
                limit.heard(codes)
            ids = codes + firsts[level]
            drawn[step] = ids
            if may_end and bool((ended := ended | (ids == layout.end)).all()):
                break
            if step + 1 == steps:
                break
            following = (step + 1) % levels
            if context is not None and (step == 0 or following == 0):
                moment = _moment(context, (frame + (step + 1) // levels)[:, None])[:, 0]
            position = position + 1
            x = F.embedding(ids, self.embedding.weight) + self.role.weight[1 + following]
            hidden = decoder.step(x if moment is None else x + moment, position)
        return list(drawn.T.cpu().numpy())

    def _check_span(self, rows: list[TokenRows], known: Sequence[np.ndarray], frames: Sequence[int]) -> None:
        if not self.config.aligned:
            return
        for row, before, count in zip(rows, known, frames, strict=True):
            if before.shape[1] + count > row.aligned.shape[1]:
                raise ValueError(
                    f"{before.shape[1]} known and {count} wanted frames go beyond the condition's"
                    f" {row.aligned.shape[1]}; give the condition of the whole stretch"
                )

    def _hidden(self, batch: TokenRows) -> Tensor:
        return self.transformer(self._inputs(batch, self._context(batch)), self._tensor(batch.positions))

    def _inputs(self, batch: TokenRows, context: Tensor | None) -> Tensor:
        """What the transformer reads: each id, what follows it (its role) and that moment's condition."""
        x = self.embedding(self._tensor(batch.ids)) + self.role.weight[self._tensor(batch.roles)]
        return x if context is None else x + _moment(context, self._tensor(batch.frames))

    def _context(self, batch: TokenRows) -> Tensor | None:
        """Aligned condition ``[batch, 1 + frame + 1, dim]``; first and last row stand for places outside the target."""
        if self.align is None:
            return None
        summed = self.align(self.embedding(self._tensor(batch.aligned)).sum(dim=2))
        return F.pad(summed, (0, 0, 1, 1))

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.head.device)


def _moment(context: Tensor, frames: Tensor) -> Tensor:
    """Rows ``frames`` ``[batch, token]`` of ``context`` ``[batch, frame, dim]``."""
    place = frames.clamp(max=context.shape[1] - 1).unsqueeze(-1).expand(-1, -1, context.shape[2])
    return context.gather(1, place)
