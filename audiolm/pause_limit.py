"""No pause without end: counts the tokens of pauses that each row has drawn in a row, and forbids one too many."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from audiolm.sampling import Pauses

__all__ = ["PauseLimit"]


class PauseLimit:
    """Rows of a semantic stage while they are drawn; what was ``known`` (``[level, token]`` per row) counts."""

    def __init__(self, pauses: Pauses, known: Sequence[np.ndarray], n_semantic: int) -> None:
        """Raises ValueError for pause tokens that the stage has not, or that are all it has."""
        if pauses.longest is None:
            raise ValueError("the pauses have no limit; give longest")
        if max(pauses.tokens) >= n_semantic or len(pauses.tokens) == n_semantic:
            raise ValueError(
                f"pause tokens are {pauses.tokens}; give some, not all, of the semantic tokens 0 to {n_semantic - 1}"
            )
        self._pauses, self._longest = pauses, pauses.longest
        self._count = torch.tensor([_run_at_end(row[0], pauses.tokens) for row in known])

    def applied(self, logits: Tensor) -> Tensor:
        """``[row, token]`` without the pause tokens in rows that have had enough of them."""
        full = self._count.to(logits.device) >= self._longest
        if not bool(full.any()):
            return logits
        barred = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
        barred[list(self._pauses.tokens)] = True
        return logits.masked_fill(full[:, None] & barred, float("-inf"))

    def heard(self, tokens: Tensor) -> None:
        """Count what was drawn, ``[row]``."""
        here = torch.isin(tokens.cpu(), torch.tensor(self._pauses.tokens))
        self._count = torch.where(here, self._count + 1, 0)


def _run_at_end(tokens: np.ndarray, of: Sequence[int]) -> int:
    """How many of the last tokens are one of ``of`` without a break."""
    others = np.flatnonzero(~np.isin(tokens, of))
    return len(tokens) - 1 - int(others[-1]) if len(others) else len(tokens)
