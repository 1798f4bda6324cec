"""One step of one row or a few, on all threads together: a large network's step as one compiled call per thread.

A step reads every weight and every cached key and value once, so that its time is their bytes over the
memory's speed, if nothing else stands in between. Here each thread takes its share of each matrix's rows and of the
heads from the first layer to the last::

    thread 0   norm | qkv, attention of heads 0-7  | out rows 0-511    | norm | up, activation 0-2047    | down ...
    thread 1   norm | qkv, attention of heads 8-15 | out rows 512-1023 | norm | up, activation 2048-4095 | down ...
                                                   ^ meet              ^ meet                            ^ meet

and the threads meet in compiled code (:mod:`audiolm.compiled_basis`) where one needs what another has computed.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiolm.compiled_basis import compiled, meet
from audiolm.compiled_decoding import HEAD_EPS, CompiledDecoder, SmallWeights
from audiolm.compiled_kernels import activate, attend, normalise, place
from audiolm.compiled_matrices import Matrices, rows_of, shorten, times_rows
from audiolm.compiled_tiles import PAIR
from audiolm.kv_cache import Cache
from audiolm.precision import Int8Linear
from audiolm.transformer import Transformer

__all__ = ["SharedDecoder"]

MOST_THREADS, MOST_ROWS = 16, 8
"""More rows are worth torch's matrix product."""
MEETINGS = 4
"""Per layer: before the output of attention, after it, before and after the second matrix of the feed-forward."""
MATRICES = ("attention.qkv", "attention.out", "ff.up", "ff.down")
QKV, OUT, UP, DOWN = range(4)


class SharedDecoder(CompiledDecoder):
    """:class:`~audiolm.compiled_decoding.CompiledDecoder` for one row, all matrices float32 or all int8, or for a few
    rows of float32."""

    def __init__(self, transformer: Transformer, cache: Cache) -> None:
        super().__init__(transformer, cache)
        if not self.takes(transformer, cache.batch):
            raise ValueError(f"it takes one row of float32 or int8, up to {MOST_ROWS} of float32; use CompiledDecoder")
        config = transformer.config
        self.threads = max(1, min(torch.get_num_threads(), _processors(), config.heads, MOST_THREADS))
        self.pool = ThreadPoolExecutor(self.threads - 1) if self.threads > 1 else None
        self.matrices, self.kept = _weights(transformer)
        self.counter = np.zeros(1, dtype=np.int64)
        wide = max(3 * config.dim, self.matrices.shapes[UP, 0])
        rows = 1 if cache.batch == 1 else -(-cache.batch // PAIR) * PAIR
        self.common = tuple(
            np.zeros((rows, size), np.float32) for size in (config.dim, wide, config.dim, config.ff_dim)
        )
        most = max(config.dim, config.ff_dim)
        self.own = [
            (
                np.zeros((rows, config.dim), np.float32),
                np.empty(cache.capacity, np.float32),
                np.empty(max(cache.capacity, most), np.int32),
                np.empty(most, np.int16),
            )
            for _ in range(self.threads)
        ]

    @classmethod
    def takes(cls, transformer: Transformer, batch: int) -> bool:
        """Matrices of one kind, and a POSIX system, whose ``usleep`` waiting threads call."""
        kinds = {type(matrix) for layer in _matrices(transformer) for matrix in layer}
        floats = all(p.dtype == torch.float32 and p.is_contiguous() for p in transformer.parameters())
        most = {frozenset({nn.Linear}): MOST_ROWS, frozenset({Int8Linear}): 1}.get(frozenset(kinds), 0)
        return batch <= most and floats and os.name == "posix"

    def step(self, x: Tensor, positions: Tensor) -> Tensor:
        end = self.cache.check_room(1)
        batch = len(x)
        self.common[0][:batch], self.common[0][batch:] = x.detach().numpy(), 0
        self.counter[0] = 0
        rest = (
            self.threads,
            self.counter,
            np.ascontiguousarray(positions.numpy()),
            self.cache.pairs.numpy(),
            end - 1,
            self.first,
            self.small,
            self.matrices,
            (self.rms, self.gated, self.eps),
            self.common,
        )
        others = [self.pool.submit(_share, i, *rest, self.own[i]) for i in range(1, self.threads)] if self.pool else []
        _share(0, *rest, self.own[0])
        for other in others:
            other.result()
        self.cache.length = end
        return torch.from_numpy(self.own[0][0][:batch].copy())


@compiled
def _share(
    part: int,
    parts: int,
    counter: np.ndarray,
    positions: np.ndarray,
    pairs: np.ndarray,
    at: int,
    first: np.ndarray,
    small: SmallWeights,
    matrices: Matrices,
    options: tuple[bool, bool, float],
    common: tuple[np.ndarray, ...],
    own: tuple[np.ndarray, ...],
) -> None:
    """What thread ``part`` of ``parts`` does of a step. ``common``: input, products, attention's and the activation's
    results, which the threads fill together; ``own``: this thread's norms (the output in the end), and its room."""
    rms, gated, eps = options
    x, wide, mixed, inner = common
    normed, scores, powers, short = own
    heads, width, dim, ff = pairs.shape[3], pairs.shape[5], x.shape[1], inner.shape[1]
    head_from, head_to = heads * part // parts, heads * (part + 1) // parts
    from_, to = rows_of(dim, part, parts)
    ff_from, ff_to = rows_of(ff, part, parts)
    met = 0
    for layer in range(pairs.shape[0]):
        normalise(x, small.attention_norm[layer], rms, eps, normed)
        unit = shorten(normed[0], matrices.steps, short)
        for third in range(3):
            low, high = third * dim + head_from * width, third * dim + head_to * width
            times_rows(matrices, layer, QKV, normed, short, unit, wide, low, high, False)
        place(wide, pairs[layer], at, positions, small.head_scales[layer], small.speeds, HEAD_EPS, head_from, head_to)
        attend(wide, pairs[layer], first, at + 1, small.bias, scores, powers, mixed, head_from, head_to)
        meet(counter, (met + 1) * parts)
        unit = shorten(mixed[0], matrices.steps, short)
        times_rows(matrices, layer, OUT, mixed, short, unit, x, from_, to, True)
        meet(counter, (met + 2) * parts)
        normalise(x, small.ff_norm[layer], rms, eps, normed)
        unit = shorten(normed[0], matrices.steps, short)
        for half in range(2 if gated else 1):
            low, high = half * ff + ff_from, half * ff + ff_to
            times_rows(matrices, layer, UP, normed, short, unit, wide, low, high, False)
        activate(wide, gated, inner, powers, ff_from, ff_to)
        meet(counter, (met + 3) * parts)
        unit = shorten(inner[0], matrices.steps, short)
        times_rows(matrices, layer, DOWN, inner, short, unit, x, from_, to, True)
        met += MEETINGS
        meet(counter, met * parts)
    normalise(x, small.norm, rms, eps, normed)


def _matrices(transformer: Transformer) -> list[list[Any]]:
    return [[block.get_submodule(name) for name in MATRICES] for block in transformer.blocks]


def _weights(transformer: Transformer) -> tuple[Matrices, list[Any]]:
    """The matrices as compiled code finds them, and what has to be kept for it."""
    layers = _matrices(transformer)
    shapes = np.array([(matrix.out_features, matrix.in_features) for matrix in layers[0]], dtype=np.int64)
    if not isinstance(layers[0][0], Int8Linear):
        kept: list[Any] = [[matrix.weight.detach() for matrix in layer] for layer in layers]
        addresses = np.array([[weight.data_ptr() for weight in layer] for layer in kept], dtype=np.int64)
        return Matrices(addresses, np.zeros_like(addresses), shapes, 0), kept
    kept = [[matrix.plain() for matrix in layer] for layer in layers]
    addresses, scales = (
        np.array([[[tensor.data_ptr() for tensor in pair] for pair in layer] for layer in kept], dtype=np.int64)
        .transpose(2, 0, 1)
        .copy()
    )
    return Matrices(addresses, scales, shapes, layers[0][0].steps), kept


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
