"""Keys and values of what a transformer has read, allocated once and never moved."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Cache"]


class Cache:
    """Keys and values of all layers: ``[layer, batch, head, capacity, head_dim]`` each, views of one allocation.

    ``length``: tokens seen; ``valid``: bool ``[batch, capacity]``, False at left padding; None where no row is padded.
    Memory that no token has reached is not touched, so it costs nothing yet.
    """

    def __init__(
        self,
        layers: int,
        heads: int,
        head_dim: int,
        batch: int,
        capacity: int,
        *,
        valid: Tensor | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        """``valid``: bool ``[batch, token]`` over the first tokens; those after them are all valid."""
        self.pairs = torch.empty((layers, batch, 2, heads, capacity, head_dim), device=device)
        self.keys, self.values = self.pairs.unbind(2)
        self.length = 0
        self.capacity = capacity
        self.valid: Tensor | None = None
        if valid is not None and not bool(valid.all()):
            self.valid = torch.ones((batch, capacity), dtype=torch.bool, device=device)
            self.valid[:, : valid.shape[1]] = valid

    @property
    def batch(self) -> int:
        return self.pairs.shape[1]

    def store(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append ``[batch, head, token, head_dim]`` to ``layer``; gives views of all keys and values so far."""
        end = self.check_room(keys.shape[2])
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def check_room(self, tokens: int) -> int:
        """Length after ``tokens`` more.

        Raises:
            ValueError: they do not fit.
        """
        end = self.length + tokens
        if end > self.capacity:
            raise ValueError(f"cache holds {self.capacity} tokens; {end} were given, make it larger")
        return end

    def padding(self) -> Tensor | None:
        """What to add to the scores of each key: 0, or -inf at padding, ``[batch, 1, 1, capacity]``."""
        if self.valid is None:
            return None
        padding = torch.zeros(self.valid.shape, device=self.pairs.device).masked_fill_(~self.valid, float("-inf"))
        return padding[:, None, None]
