"""Rows of a matrix times one vector or a few, in compiled code, each thread its own: float32, and int8 with scales."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from audiolm.compiled_basis import AHEAD, LINE, bytes_at, compiled, floats_at, prefetch
from audiolm.compiled_kernels import times
from audiolm.compiled_tiles import times_pairs

__all__ = ["Matrices", "rows_of", "shorten", "times_rows"]

BLOCK = 512
"""Columns of 8-bit weights summed between two such requests."""


class Matrices(NamedTuple):
    """``[layer, matrix]`` addresses of C-contiguous matrices of ``shapes`` ``[matrix, 2]``.

    ``steps``: 0 for float32; for int8, into how many steps an input's largest value is cut, and ``scales`` are the
    addresses of one float32 per row.
    """

    addresses: np.ndarray
    scales: np.ndarray
    shapes: np.ndarray
    steps: int


@compiled
def rows_of(count: int, part: int, parts: int) -> tuple[int, int]:
    """First row and end of what thread ``part`` computes; in fours, as the rows are computed."""
    fours = (count + 3) // 4
    return min(count, fours * part // parts * 4), min(count, fours * (part + 1) // parts * 4)


@compiled
def shorten(x: np.ndarray, steps: int, short: np.ndarray) -> np.float32:
    """``x`` as whole numbers from -``steps`` to ``steps`` in ``short``; gives their unit. Nothing where steps is 0."""
    if steps == 0:
        return np.float32(1)
    most = np.float32(1e-30)
    for i in range(len(x)):
        most = max(most, abs(x[i]))
    for i in range(len(x)):
        short[i] = np.int16(np.rint(x[i] / most * np.float32(steps)))
    return most / np.float32(steps)


@compiled
def times_rows(
    matrices: Matrices,
    layer: int,
    which: int,
    x: np.ndarray,
    short: np.ndarray,
    unit: np.float32,
    out: np.ndarray,
    low: int,
    high: int,
    add: bool,
) -> None:
    """Rows ``low`` to ``high`` of one matrix times ``x`` ``[row, in]``, one row or an even number, into or onto ``out``
    ``[row, ..]``; int8: times ``short`` in ``unit``, one row."""
    rows, columns = matrices.shapes[which]
    if matrices.steps == 0:
        floats = floats_at(matrices.addresses[layer, which], rows, columns)
        if len(x) == 1:
            times(floats[low:high], x, out[:, low:high], add)
        else:
            times_pairs(floats, x, out, low, high, add)
        return
    whole = bytes_at(matrices.addresses[layer, which], rows, columns)
    scales = floats_at(matrices.scales[layer, which], 1, rows)[0]
    for row in range(low, high):
        found = np.float32(_dot(whole, row, short[:columns])) * unit * scales[row]
        out[0, row] = found + (out[0, row] if add else np.float32(0))


@compiled
def _dot(matrix: np.ndarray, row: int, x: np.ndarray) -> int:
    """``matrix[row] . x`` of int8 and int16, exact."""
    columns, total = len(x), 0
    for start in range(0, columns, BLOCK):
        stop = min(columns, start + BLOCK)
        for ahead in range(0, stop - start, LINE):
            prefetch(matrix, row * columns + start + AHEAD + ahead)
        weights, values = matrix[row, start:stop], x[start:stop]
        found = np.int32(0)
        for i in range(len(weights)):
            found = np.int32(found + np.int32(weights[i]) * np.int32(values[i]))
        total += found
    return total
