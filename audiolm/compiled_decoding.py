"""One token at a time on a CPU, with compiled pieces (:mod:`audiolm.compiled_kernels`) for many small operations.

Dispatched one by one, what lies between the matrix products of a step takes a tenth of a large network's time and half
of a small one's. :class:`CompiledDecoder` leaves the matrix products to torch; :class:`SmallDecoder`, for networks
whose matrices fit a processor's cache, makes the whole step one call.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiolm.compiled_basis import compiled
from audiolm.compiled_kernels import activate, attend, normalise, place, times
from audiolm.incremental import Decoder
from audiolm.kv_cache import Cache
from audiolm.transformer import Transformer

__all__ = ["HEAD_EPS", "CompiledDecoder", "SmallDecoder", "SmallWeights"]

OWN_ATTENTION = 2**18
"""Up to so many cached values of a layer, attention is compiled too: more are worth torch's threads."""


class CompiledDecoder(Decoder):
    """:class:`~audiolm.incremental.Decoder` for a CPU; matrices of any precision."""

    def __init__(self, transformer: Transformer, cache: Cache) -> None:
        super().__init__(transformer, cache)
        config, batch = transformer.config, cache.batch
        valid = cache.valid
        if valid is not None and bool((valid[:, 1:] < valid[:, :-1]).any()):
            raise ValueError("a row is padded elsewhere than on the left; use Decoder")
        self.first = np.zeros(batch, dtype=np.int64) if valid is None else valid.int().argmax(1).numpy()
        self.rms = config.norm == "rms"
        self.eps = _eps(transformer.norm)
        self.small = _small_weights(transformer, None if self.bias is None else self.bias[0, :, 0])
        self.mixed, self.normed = _empty(batch, config.dim), _empty(batch, config.dim)
        self.inner, self.room = _empty(batch, config.ff_dim), _empty(cache.capacity)
        self.powers = np.empty(max(cache.capacity, config.ff_dim), dtype=np.int32)

    def step(self, x: Tensor, positions: Tensor) -> Tensor:
        mask, _, seen = self._begin()
        end, batch = self.cache.length + 1, len(x)
        own = batch * end * self.mixed.shape[1] <= OWN_ATTENTION
        normed, mixed, inner = (torch.from_numpy(a) for a in (self.normed, self.mixed, self.inner))
        small, pairs, heads = self.small, self.cache.pairs.numpy(), self.heads
        at, places = end - 1, np.ascontiguousarray(positions.numpy())
        for index, layer in enumerate(self.layers):
            normalise(x.numpy(), small.attention_norm[index], self.rms, self.eps, self.normed)
            qkv = layer.qkv(normed)
            wide = qkv.numpy()
            place(wide, pairs[index], at, places, small.head_scales[index], small.speeds, HEAD_EPS, 0, heads)
            if own:
                attend(wide, pairs[index], self.first, end, small.bias, self.room, self.powers, self.mixed, 0, heads)
                x = layer.out(mixed, x)
            else:
                keys, values = seen[index].unbind(1)
                query = qkv.view(batch, 3, self.heads, 1, self.width)[:, 0]
                found = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
                x = layer.out(found.view(batch, -1), x)
            normalise(x.numpy(), small.ff_norm[index], self.rms, self.eps, self.normed)
            activate(layer.up(normed).contiguous().numpy(), self.gated, self.inner, self.powers, 0, self.inner.shape[1])
            x = layer.down(inner, x)
        self._end()
        normalise(x.numpy(), small.norm, self.rms, self.eps, self.normed)
        return torch.from_numpy(self.normed.copy())


class SmallDecoder(CompiledDecoder):
    """The whole step in one call; float32 matrices only, of which it takes a copy."""

    def __init__(self, transformer: Transformer, cache: Cache) -> None:
        super().__init__(transformer, cache)
        config, batch = transformer.config, cache.batch
        names = ("attention.qkv", "attention.out", "ff.up", "ff.down")
        self.matrices = _Matrices(*(_stacked(transformer, name) for name in names))
        self.wide = _empty(batch, max(3 * config.dim, self.matrices.up.shape[1]))

    def step(self, x: Tensor, positions: Tensor) -> Tensor:
        end = self.cache.check_room(1)
        y = np.array(x.detach().numpy(), order="C")
        _step(
            y,
            np.ascontiguousarray(positions.numpy()),
            self.cache.pairs.numpy(),
            end - 1,
            self.first,
            self.small,
            self.matrices,
            (self.rms, self.gated, self.eps),
            (self.normed, self.wide, self.mixed, self.inner, self.room),
            self.powers,
        )
        self.cache.length = end
        return torch.from_numpy(y)


class SmallWeights(NamedTuple):
    """All but the matrices, stacked over layers; norms are scale and offset, ``[layer, 2, dim]``. Empty where a setting
    has none: ``head_scales`` ``[layer, 2, width]``, ``speeds`` ``[width / 2]``, ``bias`` (T5) ``[head, capacity]``."""

    attention_norm: np.ndarray
    ff_norm: np.ndarray
    norm: np.ndarray
    head_scales: np.ndarray
    speeds: np.ndarray
    bias: np.ndarray


class _Matrices(NamedTuple):
    qkv: np.ndarray
    out: np.ndarray
    up: np.ndarray
    down: np.ndarray


HEAD_EPS = float(torch.finfo(torch.float32).eps)


@compiled
def _step(
    x: np.ndarray,
    positions: np.ndarray,
    pairs: np.ndarray,
    at: int,
    first: np.ndarray,
    small: SmallWeights,
    matrices: _Matrices,
    options: tuple[bool, bool, float],
    room: tuple[np.ndarray, ...],
    powers: np.ndarray,
) -> None:
    """``x`` ``[batch, dim]`` becomes the output; ``pairs``: ``[layer, batch, 2, head, capacity, width]``; ``at``: the
    place of this token; ``first``: each row's first key that is no padding."""
    rms, gated, eps = options
    normed, wide, mixed, inner, scores = room
    heads = pairs.shape[3]
    for layer in range(pairs.shape[0]):
        normalise(x, small.attention_norm[layer], rms, eps, normed)
        times(matrices.qkv[layer], normed, wide, False)
        place(wide, pairs[layer], at, positions, small.head_scales[layer], small.speeds, HEAD_EPS, 0, heads)
        attend(wide, pairs[layer], first, at + 1, small.bias, scores, powers, mixed, 0, heads)
        times(matrices.out[layer], mixed, x, True)
        normalise(x, small.ff_norm[layer], rms, eps, normed)
        times(matrices.up[layer], normed, wide, False)
        activate(wide, gated, inner, powers, 0, inner.shape[1])
        times(matrices.down[layer], inner, x, True)
    normalise(x, small.norm, rms, eps, normed)
    x[:] = normed


def _small_weights(transformer: Transformer, bias: Tensor | None) -> SmallWeights:
    config = transformer.config

    def norms(name: str) -> np.ndarray:
        return np.stack([_norm(block.get_submodule(name)) for block in transformer.blocks])

    scales = _empty(config.layers, 0, config.head_dim)
    if config.qk_norm:
        names = ("attention.query_norm", "attention.key_norm")
        scales = np.stack([_stacked(transformer, name) for name in names], axis=1)
    speeds = _empty(0)
    if config.positions == "rope":
        width = config.head_dim
        speeds = (10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float32) / width)).numpy()
    return SmallWeights(
        attention_norm=norms("attention_norm"),
        ff_norm=norms("ff_norm"),
        norm=_norm(transformer.norm),
        head_scales=scales,
        speeds=speeds,
        bias=_empty(0, 0) if bias is None else np.ascontiguousarray(bias.detach().numpy()),
    )


def _stacked(transformer: Transformer, name: str) -> np.ndarray:
    weights: list[Any] = [block.get_submodule(name).weight for block in transformer.blocks]
    return torch.stack([weight.detach() for weight in weights]).numpy()


def _norm(module: nn.Module) -> np.ndarray:
    weight: Any = module.weight
    offset: Any = getattr(module, "bias", None)
    offset = torch.zeros_like(weight) if offset is None else offset
    return torch.stack((weight.detach(), offset.detach())).numpy()


def _eps(module: nn.Module) -> float:
    eps: Any = getattr(module, "eps", None)
    return HEAD_EPS if eps is None else float(eps)


def _empty(*shape: int) -> np.ndarray:
    return np.empty(shape, dtype=np.float32)
