"""A continuous cache over the prompt (Grave et al. 2017, arXiv 1612.04426): in moments like its own, its codes again.

A small model has heard too few voices to speak in any new one; the prompt's codes are that voice.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from audiolm.delay_pattern import HIDDEN, delay
from audiolm.sampling import Recall

__all__ = ["PromptRecall"]


class PromptRecall:
    """The states in which the network read each row's known codes, and the codes that came next."""

    def __init__(self, states: Tensor, known: Sequence[Tensor], recall: Recall, size: int) -> None:
        """``states``: ``[row, step, dim]``, each row's last is that before its first new code."""
        self.recall, self.size = recall, size
        levels, steps = known[0].shape[0], states.shape[1]
        self.keys = F.normalize(states, dim=-1)
        ids = torch.full((len(known), levels, steps), HIDDEN, dtype=torch.int64, device=states.device)
        for row, codes in zip(ids, known, strict=True):
            frames = codes.shape[1]
            row[:, steps - 1 - frames : steps - 1] = delay(codes[None])[0, :, :frames]
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
