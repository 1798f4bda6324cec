"""A continuous cache over the prompt (Grave et al. 2017, arXiv 1612.04426): in moments like its own, its codes again.

A small model has heard too few voices to speak in any new one; the prompt's codes are that voice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from audiolm.delay_pattern import HIDDEN, delay
from audiolm.sampling import Recall

if TYPE_CHECKING:
    from audiolm.delayed import DelayedStage

__all__ = ["Prompt", "PromptRecall"]


class Prompt(NamedTuple):
    """What a row was given to continue: semantic tokens, one per 40 ms, and codes ``[level, frame]``; may be empty."""

    semantic: np.ndarray
    codes: np.ndarray


class PromptRecall:
    """The states in which a delayed decoder reads each row's prompt, and the codes that came next."""

    def __init__(self, stage: DelayedStage, prompts: Sequence[Prompt], recall: Recall) -> None:
        self.recall = recall
        steps = max(1, *(prompt.codes.shape[1] for prompt in prompts))
        config, device = stage.config, stage.bias.device
        self.keys = torch.zeros((len(prompts), steps, config.transformer.dim), device=device)
        ids = torch.full((len(prompts), config.n_levels, steps), HIDDEN, dtype=torch.int64, device=device)
        for keys, row, prompt in zip(self.keys, ids, prompts, strict=True):
            frames = prompt.codes.shape[1]
            if frames:
                codes = torch.from_numpy(np.asarray(prompt.codes, dtype=np.int64)).to(device)[None]
                spoken = torch.from_numpy(np.asarray(prompt.semantic, dtype=np.int64)).to(device)[None]
                keys[:frames] = F.normalize(stage.states(codes, spoken)[0, :frames], dim=-1)
                row[:, :frames] = delay(codes)[0, :, :frames]
        self.there = ids != HIDDEN
        self.ids = ids.clamp(min=0)
        self.any = self.there.any(dim=-1, keepdim=True)

    def mixed(self, logits: Tensor, hidden: Tensor) -> Tensor:
        """``logits`` ``[row, level, code]`` with the prompt's share of the chances, as they are where there is none."""
        alike = torch.einsum("rsd,rd->rs", self.keys, F.normalize(hidden, dim=-1)) * self.recall.sharpness
        weights = alike.unsqueeze(1).masked_fill(~self.there, float("-inf"))
        weights = torch.where(self.any, weights, 0.0).softmax(dim=-1)
        recalled = torch.zeros_like(logits).scatter_add_(-1, self.ids, weights)
        share = self.recall.share
        return torch.where(self.any, ((1 - share) * logits.softmax(dim=-1) + share * recalled).log(), logits)
