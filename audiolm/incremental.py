"""One token at a time: the transformer's own weights, laid out for one query per row.

Nothing here grows with what is already cached but attention itself: the T5 bias of every distance is computed once
and read as a view, keys and values are written in place, and no module is looked up per token.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiolm.kv_cache import Cache
from audiolm.transformer import Transformer

__all__ = ["Decoder", "decoder_for", "is_small"]

MASK_VALUES = 2**24
"""Most scores (64 MiB) that a mask of the prefix may hold; a longer prefix goes in pieces."""
SKINNY = range(4, 49)
SKINNY_WEIGHTS, STRIP = 2**19, 16
"""For this many rows and at least so many weights, ``W x^T`` in strips of 16 rows of ``W`` takes 0.5 to 0.8 of the
time of ``x W^T`` on a CPU: a strip stays in the first cache, and the BLAS need not repack the matrix. Smaller matrices
lose by it."""
SMALL_WEIGHTS = 2**23
"""Up to so many weights (32 MiB), a network is limited by how fast its operations are dispatched, not by memory."""

Map = Callable[[Tensor], Tensor]
Onto = Callable[[Tensor, Tensor], Tensor]
"""A matrix applied to the first ``[batch, in]`` and added to the second ``[batch, out]``."""


class _Layer(NamedTuple):
    attention_norm: Map
    qkv: Map
    head_scale: Tensor | None
    out: Onto
    ff_norm: Map
    up: Map
    down: Onto


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

    @classmethod
    def takes(cls, transformer: Transformer, batch: int) -> bool:
        """Whether this decoder is for ``batch`` rows of ``transformer``; this one is for all."""
        return True

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
        """The next vector of each row, ``[batch, dim]`` at ``positions`` ``[batch]``; gives ``[batch, dim]``."""
        batch = len(x)
        mask, slots, seen = self._begin()
        turn = None
        if self.speeds is not None:
            angle = (positions[:, None] * self.speeds)[:, None, None, None]
            turn = angle.cos(), angle.sin() * self.signs  # [batch, 1, 1, 1, width]
        for layer, slot, pair in zip(self.layers, slots, seen, strict=True):
            heads = layer.qkv(layer.attention_norm(x)).view(batch, 3, self.heads, 1, self.width)
            if layer.head_scale is not None or turn is not None:
                self._place(heads[:, :2], layer.head_scale, turn)
            self._write(slot, heads[:, 1:])
            keys, values = pair.unbind(1)
            mixed = F.scaled_dot_product_attention(heads[:, 0], keys, values, attn_mask=mask)
            x = layer.out(mixed.view(batch, -1), x)
            x = layer.down(self._activate(layer.up(layer.ff_norm(x))), x)
        self._end()
        return self.norm(x)

    def _begin(self) -> tuple[Tensor | None, Sequence[Tensor], Sequence[Tensor]]:
        """Scores to add over the keys that this step sees; per layer where its own key and value go, and those seen.

        All are views (only a padded batch with T5 bias adds two rows into a buffer).
        """
        end = self.cache.check_room(1)
        slots = self.cache.pairs.narrow(4, end - 1, 1).unbind(0)  # [batch, 2, head, 1, width]
        seen = self.cache.pairs.narrow(4, 0, end).unbind(0)
        mask = None if self.padding is None else self.padding[..., :end]
        if self.bias is not None:
            bias = self.bias[..., self.cache.capacity - end :]
            mask = bias if mask is None else torch.add(bias, mask, out=self.scores[..., :end])  # type: ignore[index]
        if mask is not None:
            mask = mask.expand(self.cache.batch, -1, -1, -1)
        return mask, slots, seen

    def _write(self, slot: Tensor, pair: Tensor) -> None:
        """Key and value ``[batch, 2, head, 1, width]`` into their place of the cache."""
        slot.copy_(pair)

    def _end(self) -> None:
        self.cache.length += 1

    def _place(self, pair: Tensor, scale: Tensor | None, turn: tuple[Tensor, Tensor] | None) -> None:
        """Norm and rotate queries and keys ``[batch, 2, head, 1, width]`` in place."""
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
    """The fastest decoder for the device that ``cache`` is on: a CUDA graph's on a GPU, compiled pieces on a CPU."""
    if cache.pairs.is_cuda:
        from audiolm.graph_decoding import GraphDecoder

        return GraphDecoder(transformer, cache)
    small, large, shared = _compiled_decoders()
    matrices = _matrices(transformer)
    whole = all(isinstance(matrix, nn.Linear) and matrix.weight.dtype == torch.float32 for matrix in matrices)
    if is_small(transformer):
        return (small if whole else large)(transformer, cache)
    return (shared if shared.takes(transformer, cache.batch) else large)(transformer, cache)


def is_small(transformer: Transformer) -> bool:
    """Whether a step is better computed on one thread: few weights, of any precision, on a CPU."""
    weights = sum(matrix.in_features * matrix.out_features for matrix in _matrices(transformer))
    return weights <= SMALL_WEIGHTS and not next(transformer.parameters()).is_cuda


def _matrices(transformer: Transformer) -> list[Any]:
    names = ("attention.qkv", "attention.out", "ff.up", "ff.down")
    return [block.get_submodule(name) for block in transformer.blocks for name in names]


@functools.cache
def _compiled_decoders() -> tuple[type[Decoder], type[Decoder], type[Decoder]]:
    """For small and for large networks, and for one row of a large one; torch's operations where numba is missing or
    does not go with this numpy."""
    try:
        from audiolm.compiled_decoding import CompiledDecoder, SmallDecoder
        from audiolm.shared_decoding import SharedDecoder
    except ImportError:
        return Decoder, Decoder, Decoder
    return SmallDecoder, CompiledDecoder, SharedDecoder


def _layer(block: nn.Module, batch: int) -> _Layer:
    attention, ff = block.get_submodule("attention"), block.get_submodule("ff")
    query_norm, key_norm = attention.get_submodule("query_norm"), attention.get_submodule("key_norm")
    scale = None
    if isinstance(query_norm, nn.RMSNorm) and isinstance(key_norm, nn.RMSNorm):
        scales = torch.stack((query_norm.weight.detach(), key_norm.weight.detach()))
        scale = scales[:, None, None] * math.sqrt(scales.shape[1])  # [2, 1, 1, width]
    return _Layer(
        attention_norm=_norm(block.get_submodule("attention_norm")),
        qkv=_map(attention.get_submodule("qkv"), batch, whole=True),
        head_scale=scale,
        out=_onto(attention.get_submodule("out"), batch),
        ff_norm=_norm(block.get_submodule("ff_norm")),
        up=_map(ff.get_submodule("up"), batch),
        down=_onto(ff.get_submodule("down"), batch),
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
    if _single(module, batch):
        return lambda x: torch.mv(weight, x[0]).unsqueeze(0)
    if not _skinny(module, batch):
        return lambda x: F.linear(x, weight)
    strips = weight.view(-1, STRIP, module.in_features)
    if whole:
        return lambda x: _by_strips(strips, x).contiguous()
    return lambda x: _by_strips(strips, x)


def _onto(module: nn.Module, batch: int) -> Onto:
    if not isinstance(module, nn.Linear):
        return lambda x, base: base + module(x)
    weight = module.weight.detach()
    if _single(module, batch):
        return lambda x, base: torch.addmv(base[0], weight, x[0]).unsqueeze(0)
    if _skinny(module, batch):
        strips = weight.view(-1, STRIP, module.in_features)
        return lambda x, base: base + _by_strips(strips, x)
    turned = weight.t()
    return lambda x, base: torch.addmm(base, x, turned)


def _single(module: nn.Linear, batch: int) -> bool:
    """On a CPU the matrix times a vector is 1 % faster than torch's linear on one row, and 2 % than its ``addmm``."""
    return batch == 1 and not module.weight.is_cuda


def _skinny(module: nn.Linear, batch: int) -> bool:
    large = module.weight.numel() >= SKINNY_WEIGHTS and module.out_features % STRIP == 0
    return large and batch in SKINNY and not module.weight.is_cuda


def _by_strips(strips: Tensor, x: Tensor) -> Tensor:
    """``x W^T`` ``[batch, out]`` (transposed in memory), with ``W`` as ``[strip, row, in]``."""
    columns = x.t().contiguous().expand(len(strips), -1, -1)
    return torch.bmm(strips, columns).view(-1, len(x)).t()
