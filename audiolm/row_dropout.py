"""Dropout that does not care how a batch is cut: a row's mask is drawn from (seed, step, row) alone.

With it, one process, several processes and accumulated parts take the same training step, dropout included.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["RowDropout", "RowRandomness"]


class RowRandomness:
    """One generator per row of the batch part at hand, shared by all dropout modules of a model."""

    def __init__(self) -> None:
        self.generators: list[torch.Generator] = []

    def start(self, seed: int, step: int, rows: slice, device: torch.device) -> None:
        """Before the forward of one part: rows ``rows`` of the batch of ``step``."""
        keys = np.random.SeedSequence([seed, step, 1]).generate_state(rows.stop, np.uint64)[rows]
        self.generators = [torch.Generator(device).manual_seed(int(key) >> 1) for key in keys]

    def install(self, module: nn.Module) -> None:
        """Put a :class:`RowDropout` in the place of every :class:`torch.nn.Dropout` inside ``module``."""
        for name, child in module.named_children():
            if isinstance(child, nn.Dropout):
                setattr(module, name, RowDropout(child.p, self))
            else:
                self.install(child)


class RowDropout(nn.Module):
    """In training, zeroes each value of ``[row, ...]`` with chance ``p`` and scales the rest by ``1 / (1 - p)``."""

    def __init__(self, p: float, randomness: RowRandomness) -> None:
        super().__init__()
        self.p = p
        self.randomness = randomness

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        generators = self.randomness.generators
        if len(generators) != len(x):
            raise ValueError(f"{len(x)} rows and {len(generators)} row generators; call RowRandomness.start first")
        mask = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        for row, generator in zip(mask, generators, strict=True):
            row.bernoulli_(1.0 - self.p, generator=generator)
        return x * mask.mul_(1.0 / (1.0 - self.p))
