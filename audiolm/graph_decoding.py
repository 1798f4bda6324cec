"""One token at a time on a GPU: the same step at fixed shapes, recorded once as a CUDA graph and replayed.

At batch 1 a GPU waits for Python between its small kernels; a replayed graph has no Python in it. A graph needs
shapes that never change, so attention here goes over the whole cache, and a mask hides what is not there yet.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from audiolm.incremental import Decoder
from audiolm.kv_cache import Cache
from audiolm.transformer import Transformer

__all__ = ["GraphDecoder", "StaticDecoder"]

WARM_UP_STEPS = 3
"""Steps on a side stream before recording, as CUDA graphs ask for."""


class StaticDecoder(Decoder):
    """The step with no shape and no address that depends on how much is cached; runs on any device."""

    def __init__(self, transformer: Transformer, cache: Cache) -> None:
        super().__init__(transformer, cache)
        device = cache.pairs.device
        cache.pairs.zero_()  # hidden keys still meet the softmax, at -inf: they have to be numbers
        self.at = torch.zeros(1, dtype=torch.int64, device=device)
        self.places = torch.arange(cache.capacity, device=device)
        bias = transformer.distance_bias(cache.capacity)
        self.by_distance = None if bias is None else bias.contiguous()

    def _begin(self) -> tuple[Tensor | None, Sequence[Tensor], Sequence[Tensor]]:
        mask = torch.zeros_like(self.places, dtype=self.cache.pairs.dtype)
        mask = mask.masked_fill(self.places > self.at, float("-inf"))[None, None, None]
        if self.by_distance is not None:
            mask = mask + self.by_distance[:, (self.at - self.places).clamp(min=0)][None, :, None]
        if self.padding is not None:
            mask = mask + self.padding
        everything = self.cache.pairs.unbind(0)
        return mask.expand(self.cache.batch, -1, -1, -1), everything, everything

    def _write(self, slot: Tensor, pair: Tensor) -> None:
        slot.index_copy_(3, self.at, pair)

    def _end(self) -> None:
        """The caller counts: what is recorded must not change a Python number."""

    def step(self, x: Tensor, positions: Tensor) -> Tensor:
        self.cache.check_room(1)
        self.at.fill_(self.cache.length)
        out = super().step(x, positions)
        self.cache.length += 1
        return out


class GraphDecoder(StaticDecoder):
    """:class:`StaticDecoder` replayed from a CUDA graph after its first step."""

    def __init__(self, transformer: Transformer, cache: Cache) -> None:
        super().__init__(transformer, cache)
        self.graph: torch.cuda.CUDAGraph | None = None

    def step(self, x: Tensor, positions: Tensor) -> Tensor:
        self.cache.check_room(1)
        self.at.fill_(self.cache.length)
        if self.graph is None:
            self._record(x, positions)
        self.x.copy_(x)
        self.positions.copy_(positions)
        self.at.fill_(self.cache.length)
        if self.graph is not None:
            self.graph.replay()
        self.cache.length += 1
        return self.out.clone()

    def _record(self, x: Tensor, positions: Tensor) -> None:
        """Record one step; running it several times at one place writes the same keys there each time."""
        self.x, self.positions = x.clone(), positions.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_STEPS):
                Decoder.step(self, self.x, self.positions)
        torch.cuda.current_stream().wait_stream(side)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.out = Decoder.step(self, self.x, self.positions)
