"""Compiled pieces of a decoding step (numba, no C compiler): norms, rotation, attention of one query, activation.

Each row is computed by itself in a fixed order, so that what a row gets does not depend on the rows beside it by a
single bit. Arrays are float32 and contiguous; shapes are those of :mod:`audiolm.incremental` and its cache.
"""

from __future__ import annotations

import math

import numpy as np

from audiolm.compiled_basis import AHEAD, LINE, compiled, prefetch

__all__ = ["activate", "attend", "exponential", "normalise", "place", "times"]


@compiled
def times(matrix: np.ndarray, x: np.ndarray, out: np.ndarray, add: bool) -> None:
    """``x matrix^T`` into (or onto) ``out``: four rows of the matrix at a time, for all rows of ``x``."""
    outputs, inputs = matrix.shape
    whole = outputs - outputs % 4
    zero = np.float32(0)
    for o in range(0, whole, 4):
        w0, w1, w2, w3 = matrix[o], matrix[o + 1], matrix[o + 2], matrix[o + 3]
        for row in range(x.shape[0]):
            v = x[row]
            a0, a1, a2, a3 = zero, zero, zero, zero
            for i in range(inputs):
                a0 += w0[i] * v[i]
                a1 += w1[i] * v[i]
                a2 += w2[i] * v[i]
                a3 += w3[i] * v[i]
            y = out[row]
            if add:
                y[o] += a0
                y[o + 1] += a1
                y[o + 2] += a2
                y[o + 3] += a3
            else:
                y[o] = a0
                y[o + 1] = a1
                y[o + 2] = a2
                y[o + 3] = a3
    for o in range(whole, outputs):
        for row in range(x.shape[0]):
            total = zero
            for i in range(inputs):
                total += matrix[o, i] * x[row, i]
            out[row, o] = total + (out[row, o] if add else zero)


@compiled
def normalise(x: np.ndarray, weight: np.ndarray, rms: bool, eps: float, out: np.ndarray) -> None:
    dim = x.shape[1]
    for row in range(x.shape[0]):
        v, y = x[row], out[row]
        mean, square = np.float32(0), np.float32(0)
        if not rms:
            for i in range(dim):
                mean += v[i]
            mean /= np.float32(dim)
        for i in range(dim):
            square += (v[i] - mean) * (v[i] - mean)
        scale = np.float32(1 / math.sqrt(square / dim + eps))
        for i in range(dim):
            y[i] = (v[i] - mean) * scale * weight[0, i] + weight[1, i]


@compiled
def _scale_head(v: np.ndarray, weight: np.ndarray, eps: float) -> None:
    square = np.float32(0)
    for i in range(len(v)):
        square += v[i] * v[i]
    scale = np.float32(1 / math.sqrt(square / len(v) + eps))
    for i in range(len(v)):
        v[i] *= scale * weight[i]


@compiled
def _turn(query: np.ndarray, key: np.ndarray, position: int, speeds: np.ndarray) -> None:
    half = len(speeds)
    for i in range(half):
        angle = np.float32(position) * speeds[i]
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        for v in (query, key):
            a, b = v[i], v[half + i]
            v[i] = a * cos - b * sin
            v[half + i] = a * sin + b * cos


@compiled
def place(
    wide: np.ndarray,
    pairs: np.ndarray,
    at: int,
    positions: np.ndarray,
    head_scales: np.ndarray,
    speeds: np.ndarray,
    eps: float,
    low: int,
    high: int,
) -> None:
    """Queries and keys in ``wide`` ``[batch, 3 * dim ..]`` are normed and turned; keys and values go to place ``at``
    of ``pairs`` ``[batch, 2, head, capacity, width]``, for heads ``low`` to ``high``. ``head_scales``: ``[2, width]``,
    or empty for no norm; ``speeds``: ``[width / 2]``, or empty for no turn."""
    width = pairs.shape[4]
    dim = pairs.shape[2] * width
    for row in range(pairs.shape[0]):
        for head in range(low, high):
            query = wide[row, head * width : (head + 1) * width]
            key = wide[row, dim + head * width : dim + (head + 1) * width]
            if head_scales.shape[0]:
                _scale_head(query, head_scales[0], eps)
                _scale_head(key, head_scales[1], eps)
            if len(speeds):
                _turn(query, key, positions[row], speeds)
            pairs[row, 0, head, at] = key
            pairs[row, 1, head, at] = wide[row, 2 * dim + head * width : 2 * dim + (head + 1) * width]


@compiled
def attend(
    wide: np.ndarray,
    pairs: np.ndarray,
    first: np.ndarray,
    end: int,
    bias: np.ndarray,
    scores: np.ndarray,
    powers: np.ndarray,
    out: np.ndarray,
    low: int,
    high: int,
) -> None:
    """Each row's queries over its keys ``first`` to ``end``, heads ``low`` to ``high``. ``bias``: ``[head, capacity]``,
    its end is this token, or empty; ``scores``, ``powers``: room for ``end`` values."""
    width = pairs.shape[4]
    for row in range(pairs.shape[0]):
        for head in range(low, high):
            here = slice(head * width, (head + 1) * width)
            count = end - first[row]
            _score(wide[row, here], pairs[row, 0, head], first[row], count, bias, head, scores)
            exponential(scores, count, powers)
            _mix(scores, pairs[row, 1, head], first[row], count, out[row, here])


@compiled
def activate(wide: np.ndarray, gated: bool, out: np.ndarray, powers: np.ndarray, low: int, high: int) -> None:
    """ReLU, or the gated unit: the first half of ``wide`` times SiLU of the second; columns ``low`` to ``high``."""
    ff = out.shape[1]
    for row in range(out.shape[0]):
        v, y = wide[row, low:high], out[row, low:high]
        if not gated:
            for i in range(len(y)):
                y[i] = max(v[i], np.float32(0))
            continue
        gate = wide[row, ff + low : ff + high]
        for i in range(len(y)):
            y[i] = -gate[i]
        exponential(y, len(y), powers)
        for i in range(len(y)):
            y[i] = v[i] * gate[i] / (np.float32(1) + y[i])


@compiled
def _score(
    query: np.ndarray,
    keys: np.ndarray,
    first: int,
    count: int,
    bias: np.ndarray,
    head: int,
    scores: np.ndarray,
) -> None:
    """Scores of ``count`` keys less the highest of them."""
    scale = np.float32(1 / math.sqrt(len(query)))
    line = len(query) * query.itemsize
    for k in range(count):
        for offset in range(0, line, LINE):
            prefetch(keys, (first + k) * line + AHEAD + offset)
        key = keys[first + k]
        total = np.float32(0)
        for i in range(len(query)):
            total += query[i] * key[i]
        scores[k] = total * scale
    if bias.shape[0]:
        offset = bias.shape[1] - count
        for k in range(count):
            scores[k] += bias[head, offset + k]
    most = scores[0]
    for k in range(count):
        most = max(most, scores[k])
    for k in range(count):
        scores[k] -= most


@compiled
def _mix(weights: np.ndarray, values: np.ndarray, first: int, count: int, out: np.ndarray) -> None:
    """Mean of ``count`` values, ``weights`` not yet divided by their sum; four values at a time."""
    total = np.float32(0)
    for k in range(count):
        total += weights[k]
    out[:] = 0
    whole, line = count - count % 4, len(out) * out.itemsize
    for k in range(0, whole, 4):
        for offset in range(0, 4 * line, LINE):
            prefetch(values, (first + k) * line + AHEAD + offset)
        c0, c1, c2, c3 = weights[k], weights[k + 1], weights[k + 2], weights[k + 3]
        v0, v1, v2, v3 = values[first + k], values[first + k + 1], values[first + k + 2], values[first + k + 3]
        for i in range(len(out)):
            out[i] += c0 * v0[i] + c1 * v1[i] + c2 * v2[i] + c3 * v3[i]
    for k in range(whole, count):
        for i in range(len(out)):
            out[i] += weights[k] * values[first + k, i]
    for i in range(len(out)):
        out[i] /= total


@compiled
def exponential(v: np.ndarray, count: int, powers: np.ndarray) -> None:
    """``exp`` in place, to 2e-7 of the value, for |v| up to 87 (what lies beyond is taken as 87).

    ``2^n e^r`` with ``|r| <= ln(2) / 2``: a polynomial and an exponent written as bits, so that it is vectorised.
    """
    for i in range(count):
        y = min(max(v[i], np.float32(-87)), np.float32(87))
        n = np.int32(np.floor(y * np.float32(1.4426950408889634) + np.float32(0.5)))
        r = y - np.float32(n) * np.float32(0.693359375) + np.float32(n) * np.float32(2.12194440e-4)
        p = np.float32(1 / 5040)
        p = p * r + np.float32(1 / 720)
        p = p * r + np.float32(1 / 120)
        p = p * r + np.float32(1 / 24)
        p = p * r + np.float32(1 / 6)
        p = p * r + np.float32(1 / 2)
        p = p * r + np.float32(1)
        v[i] = p * r + np.float32(1)
        powers[i] = (n + np.int32(127)) << np.int32(23)
    scale = powers.view(np.float32)
    for i in range(count):
        v[i] *= scale[i]
