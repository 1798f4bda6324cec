"""Drawing one window of a delayed decoder: prefix, steps, guidance, recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from audiolm.delay_pattern import HIDDEN, delay
from audiolm.incremental import Decoder, decoder_for
from audiolm.prompt_recall import Prompt, PromptRecall
from audiolm.sampling import SamplingOptions, choose
from audiolm.tokens import FRAMES_PER_SEMANTIC, checked_ids

if TYPE_CHECKING:
    from audiolm.delayed import DelayedStage

__all__ = ["Drawing"]


class Drawing:
    """Rows on their way through one window; with guidance every row has a second one, which hears only what is new:
    neither the condition nor the known codes. So guidance strengthens both, what is said and whose voice says it."""

    def __init__(
        self,
        stage: DelayedStage,
        conditions: Sequence[np.ndarray],
        known: Sequence[np.ndarray],
        frames: Sequence[int],
        options: SamplingOptions,
        prompts: Sequence[Prompt],
    ) -> None:
        self.stage, self.options, config = stage, options, stage.config
        self.prompt = PromptRecall(stage, prompts, options.recall) if options.recall.share and len(prompts) else None
        self.guided = options.guidance != 1.0
        self.device = stage.bias.device
        self.frames = torch.tensor(list(frames), device=self.device)
        codes = [self._checked(row, "known codes", config.codebook_size) for row in known]
        spoken = [self._spoken(row, k.shape[1] + n) for row, k, n in zip(conditions, codes, frames, strict=True)]
        if self.guided:
            spoken += [np.full(-(-n // FRAMES_PER_SEMANTIC), HIDDEN) for n in frames]
            codes += [row[:, :0] for row in codes]
        self.context = [stage.condition(torch.from_numpy(row).to(self.device)[None])[0] for row in spoken]
        self.known = [torch.from_numpy(row).to(self.device) for row in codes]
        self.into = stage.into.flatten(0, 1)
        self.out = stage.out.transpose(0, 1).flatten(1)
        self.tables = stage.codes.transpose(1, 2)
        self.first_rows = torch.arange(config.n_levels, device=self.device) * config.codebook_size

    def draw(self, draws: Tensor) -> list[np.ndarray]:
        """New codes ``[level, frame]`` per row; ``draws``: ``[row, frame, level]``."""
        levels = self.stage.config.n_levels
        count, total = len(self.frames), int(self.frames.max()) + levels - 1
        forced = self._forced()
        level = torch.arange(levels, device=self.device)
        drawn = torch.full((count, levels, total), HIDDEN, dtype=torch.int64, device=self.device)
        decoder, positions, hidden = self._read(total)
        ahead = self._ahead(total)
        for step in range(total):
            place = (step - level).clamp(0, draws.shape[1] - 1)
            ids = self._choose(hidden, draws[:, place, level.cpu()].to(self.device))
            ids = torch.where((level <= step) & (step - level < self.frames[:, None]), ids, HIDDEN)
            drawn[:, :, step] = ids
            if step + 1 == total:
                break
            heard = ids
            if step + 1 < levels:  # the last known codes of the levels that lag behind
                heard = torch.where(level > step, forced[:, :, step], ids)
            if self.guided:
                heard = torch.cat([heard, ids])
            positions = positions + 1
            hidden = decoder.step(self._heard(heard) + ahead[:, step + 1], positions)
        rows = zip(drawn.cpu().numpy(), self.frames.tolist(), strict=True)
        return [np.stack([row[i, i : i + n] for i in range(levels)]) for row, n in rows]

    def _choose(self, hidden: Tensor, draws: Tensor) -> Tensor:
        """Ids ``[row, level]`` from ``hidden`` ``[row, dim]`` at ``draws`` ``[row, level]``."""
        config, count = self.stage.config, len(draws)
        small = (hidden @ self.out).unflatten(1, (config.n_levels, -1)).transpose(0, 1)  # [level, row, code_dim]
        logits = torch.baddbmm(self.stage.bias[:, None], small, self.tables).transpose(0, 1)
        if self.guided:
            told, alone = logits[:count], logits[count:]
            logits = alone + self.options.guidance * (told - alone)
        if self.prompt is not None:
            logits = self.prompt.mixed(logits, hidden[:count])
        parts = []
        for span, options in ((slice(0, config.n_coarse), self.options.coarse),
                              (slice(config.n_coarse, None), self.options.fine)):  # fmt: skip
            part = logits[:, span].flatten(0, 1)
            parts.append(choose(part, draws[:, span].flatten(), options).unflatten(0, (count, -1)))
        return torch.cat(parts, dim=1)

    def _heard(self, ids: Tensor) -> Tensor:
        """What codes ``[row, level]`` are to the network, ``[row, dim]``."""
        absent = ids == HIDDEN
        rows = F.embedding(ids.clamp(min=0) + self.first_rows, self.stage.codes.flatten(0, 1))
        return (rows * ~absent.unsqueeze(-1)).flatten(1) @ self.into + absent.to(rows.dtype) @ self.stage.absent

    def _read(self, total: int) -> tuple[Decoder, Tensor, Tensor]:
        """The decoder with every row's known codes in it, the position of each row's last step, its output."""
        lengths = [row.shape[1] + 1 for row in self.known]
        width = max(lengths)
        x = torch.zeros((len(lengths), width, self.stage.config.transformer.dim), device=self.device)
        positions = torch.zeros((len(lengths), width), dtype=torch.int64, device=self.device)
        valid = torch.zeros((len(lengths), width), dtype=torch.bool, device=self.device)
        for i, (row, length, spoken) in enumerate(zip(self.known, lengths, self.context, strict=True)):
            heard = F.pad(delay(row[None]), (1, 0), value=HIDDEN)[..., :length]
            x[i, -length:] = self.stage.read(heard)[0] + spoken[:length]
            positions[i, -length:] = torch.arange(length, device=self.device)
            valid[i, -length:] = True
        transformer = self.stage.transformer
        cache = transformer.cache(len(lengths), width + total - 1, valid)
        decoder = decoder_for(transformer, cache)
        return decoder, positions[:, -1], decoder.read(x, positions)

    def _forced(self) -> Tensor:
        """Known codes that a window's first steps pass by: ``[row, level, step]``, of frames before the first new."""
        levels = self.stage.config.n_levels
        forced = torch.full((len(self.frames), levels, levels), HIDDEN, dtype=torch.int64, device=self.device)
        for i in range(len(self.frames)):
            row = F.pad(self.known[i], (levels, 0), value=HIDDEN)
            for level in range(1, levels):
                forced[i, level, :level] = row[level, row.shape[1] - level :]
        return forced

    def _ahead(self, total: int) -> Tensor:
        """What the condition says at each new step, ``[row, step, dim]``; nothing beyond a row's last frame."""
        ahead = self.context[0].new_zeros((len(self.context), total, self.context[0].shape[1]))
        for row, known, spoken in zip(ahead, self.known, self.context, strict=True):
            here = spoken[known.shape[1] :][:total]
            row[: len(here)] = here
        return ahead

    def _spoken(self, row: np.ndarray, frames: int) -> np.ndarray:
        tokens = self._checked(row, "semantic tokens", self.stage.config.n_semantic)
        needed = -(-frames // FRAMES_PER_SEMANTIC)
        if len(tokens) < needed:
            raise ValueError(
                f"{len(tokens) * FRAMES_PER_SEMANTIC} frames of semantic tokens for {frames} frames of codes;"
                " give the condition of the whole stretch"
            )
        return tokens[:needed]

    def _checked(self, values: np.ndarray, what: str, size: int) -> np.ndarray:
        return checked_ids(values, what, size, self.stage.config.n_levels, "decoder")
