"""One token at a time: the transformer's own weights, laid out for one query per row.

Nothing here grows with what is already cached but attention itself: the T5 bias of every distance is computed once
and read as a view, keys and values are written in place, and no module is looked up per token.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiolm.kv_cache import Cache
from audiolm.transformer import Transformer

__all__ = ["Decoder", "decoder_for"]

MASK_VALUES = 2**24
"""Most scores (64 MiB) that a mask of the prefix may hold; a longer prefix goes in pieces."""
SKINNY = range(8, 49)
SKINNY_WIDTH = 512
"""Rows and input widths for which ``W x^T`` beat ``x W^T`` on a CPU, up to 1.6 times (docs/benchmarks.md)."""

Map = Callable[[Tensor], Tensor]


class _Layer(NamedTuple):
    attention_norm: Map
    qkv: Map
    head_scale: Tensor | None
    out: Map
    ff_norm: Map
    up: Map
    down: Map


class Decoder:
    """A transformer with its cache; :meth:`read` takes the prefix, :meth:`step` one vector per row."""

    def __init__(self, transformer: Transformer, cache: Cache) -> None:
        """``cache``: empty, or what ``transformer`` has written into it."""
        config = transformer.config
        if transformer.training and config.dropout:
            raise ValueError("the transformer is in training mode, where it drops values; call eval() first")
        self.transformer = transformer
        self.cache = cache
        self.heads, self.width = config.heads, config.head_dim
        self.gated = config.feed_forward == "gated"
        device = cache.pairs.device
        self.layers = [_layer(block, cache.batch) for block in transformer.blocks]
        self.norm = _norm(transformer.norm)
        self.head_floor = cache.pairs.new_tensor(math.sqrt(config.head_dim * torch.finfo(torch.float32).eps))
        self.speeds: Tensor | None = None
        if config.positions == "rope":
            speeds = 10_000.0 ** (-torch.arange(0, self.width, 2, device=device, dtype=torch.float32) / self.width)
            self.speeds = torch.cat((speeds, speeds))
            self.signs = torch.ones(self.width, device=device)
            self.signs[: self.width // 2] = -1
        self.padding = cache.padding()
        bias = transformer.distance_bias(cache.capacity)
        self.bias = None if bias is None else bias.flip(1).contiguous()[None, :, None]  # [1, head, 1, oldest .. self]
        self.scores: Tensor | None = None
        if self.bias is not None and self.padding is not None:
            self.scores = self.bias.new_empty((cache.batch, self.heads, 1, cache.capacity))

    def read(self, x: Tensor, positions: Tensor) -> Tensor:
        """The prefix ``[batch, token, dim]`` into the cache; gives its last output, ``[batch, dim]``."""
        tokens = x.shape[1]
        self.cache.check_room(tokens)
        heads = self.heads if self.bias is not None else 1
        rows = self.cache.batch if self.padding is not None else 1
        piece = max(16, MASK_VALUES // (rows * heads * (self.cache.length + tokens)))
        last = x
        for start in range(0, tokens, piece):
            here = slice(start, start + piece)
            last = self.transformer(x[:, here], positions[:, here], self.cache)
        return last[:, -1]

    def step(self, x: Tensor, positions: Tensor) -> Tensor:
        """The next vector of each row, ``[batch, dim]`` at ``positions`` ``[batch]``, to its output ``[batch, dim]``."""
        batch = len(x)
        mask = self._begin()
        turn = None
        if self.speeds is not None:
            angle = (positions[:, None] * self.speeds)[:, None, None]
            turn = angle.cos(), angle.sin() * self.signs  # [batch, 1, 1, width]
        for index, layer in enumerate(self.layers):
            heads = layer.qkv(layer.attention_norm(x)).view(batch, 3, self.heads, self.width)
            if layer.head_scale is not None or turn is not None:
                self._place(heads[:, :2], layer.head_scale, turn)
            mixed = self._attend(index, heads, mask)
            x = x + layer.out(mixed.view(batch, -1))
            x = x + layer.down(self._activate(layer.up(layer.ff_norm(x))))
        self._end()
        return self.norm(x)

    def _begin(self) -> Tensor | None:
        """Scores to add over the keys that this step sees, a view wherever that is possible."""
        end = self.cache.check_room(1)
        if self.bias is None:
            return None if self.padding is None else self.padding[..., :end]
        bias = self.bias[..., self.cache.capacity - end :]
        if self.scores is None or self.padding is None:
            return bias
        return torch.add(bias, self.padding[..., :end], out=self.scores[..., :end])

    def _end(self) -> None:
        self.cache.length += 1

    def _attend(self, index: int, heads: Tensor, mask: Tensor | None) -> Tensor:
        """``heads``: query, key, value ``[batch, 3, head, width]``; gives ``[batch, head, 1, width]``."""
        pair = self.cache.pairs[index]  # [2, batch, head, capacity, width]
        at = self.cache.length
        pair.select(3, at).copy_(heads[:, 1:].transpose(0, 1))
        seen = pair.narrow(3, 0, at + 1)
        query = heads[:, 0].unsqueeze(2)
        if mask is not None:
            mask = mask.expand(len(heads), -1, -1, -1)
        return F.scaled_dot_product_attention(query, seen[0], seen[1], attn_mask=mask)

    def _place(self, pair: Tensor, scale: Tensor | None, turn: tuple[Tensor, Tensor] | None) -> None:
        """Norm and rotate queries and keys ``[batch, 2, head, width]`` in place."""
        if scale is not None:
            pair.mul_(scale / torch.hypot(pair.norm(dim=-1, keepdim=True), self.head_floor))
        if turn is not None:
            swapped = pair.roll(self.width // 2, -1)
            pair.mul_(turn[0]).addcmul_(swapped, turn[1])

    def _activate(self, x: Tensor) -> Tensor:
        if self.gated:
            value, gate = x.chunk(2, dim=-1)
            return value * F.silu(gate)
        return F.relu(x)


def decoder_for(transformer: Transformer, cache: Cache) -> Decoder:
    """The decoder for the device that ``cache`` is on: a CUDA graph's on a GPU."""
    if cache.pairs.is_cuda:
        from audiolm.graph_decoding import GraphDecoder

        return GraphDecoder(transformer, cache)
    return Decoder(transformer, cache)


def _layer(block: nn.Module, batch: int) -> _Layer:
    attention, ff = block.get_submodule("attention"), block.get_submodule("ff")
    query_norm, key_norm = attention.get_submodule("query_norm"), attention.get_submodule("key_norm")
    scale = None
    if isinstance(query_norm, nn.RMSNorm) and isinstance(key_norm, nn.RMSNorm):
        scales = torch.stack((query_norm.weight.detach(), key_norm.weight.detach()))
        scale = scales[:, None] * math.sqrt(scales.shape[1])  # [2, 1, width]
    return _Layer(
        attention_norm=_norm(block.get_submodule("attention_norm")),
        qkv=_map(attention.get_submodule("qkv"), batch, whole=True),
        head_scale=scale,
        out=_map(attention.get_submodule("out"), batch),
        ff_norm=_norm(block.get_submodule("ff_norm")),
        up=_map(ff.get_submodule("up"), batch),
        down=_map(ff.get_submodule("down"), batch),
    )


def _norm(module: nn.Module) -> Map:
    """The norm with its weights at hand; RMS norm in four small operations (torch's own takes more on a CPU)."""
    if isinstance(module, nn.LayerNorm):
        shape, weight, bias, eps = module.normalized_shape, module.weight.detach(), module.bias.detach(), module.eps
        return lambda x: F.layer_norm(x, shape, weight, bias, eps)
    if not isinstance(module, nn.RMSNorm):
        raise ValueError(f"norm is {type(module).__name__}; use LayerNorm or RMSNorm")
    size = module.weight.numel()
    scale = module.weight.detach() * math.sqrt(size)
    floor = scale.new_tensor(math.sqrt(size * (module.eps or torch.finfo(scale.dtype).eps)))
    return lambda x: x / torch.hypot(x.norm(dim=-1, keepdim=True), floor) * scale


def _map(module: nn.Module, batch: int, *, whole: bool = False) -> Map:
    """A matrix as a function of ``[batch, in]``; ``whole``: the result has to be contiguous."""
    if not isinstance(module, nn.Linear):
        return module
    weight = module.weight.detach()
    if batch in SKINNY and module.in_features >= SKINNY_WIDTH and not weight.is_cuda:
        if whole:
            return lambda x: torch.mm(weight, x.t()).t().contiguous()
        return lambda x: torch.mm(weight, x.t()).t()
    return lambda x: F.linear(x, weight)
