"""A matrix times a few rows at once, in compiled code: each weight comes from memory once and meets all rows.

Tiles of four rows of the matrix and two of the input keep eight sums in registers. They are written out as vectors,
since what numba finds by itself has half their width on processors with AVX-512.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

from audiolm.compiled_basis import LINE, compiled, in_code, memory_of, prefetch

__all__ = ["PAIR", "times_pairs"]

FOUR, PAIR = 4, 2
"""A tile's rows of the matrix and of the input."""
PIECE = 512
"""Columns whose inputs and weights stay in the first cache together."""
LANES = 16 if binding.get_host_cpu_features().get("avx512f") else 8
FLOAT, INDEX = ir.FloatType(), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, LANES)


@in_code
def _tile(_context: Any, matrix: Any, row: Any, x: Any, first: Any, start: Any, stop: Any, sums: Any) -> Any:
    """Columns ``start`` to ``stop``, a multiple of ``LANES`` apart: ``matrix[row + a] . x[first + b]`` to ``sums``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        columns = builder.extract_value(context.make_array(matrix)(context, builder, arguments[0]).shape, 1)
        weights = _starts(builder, memory_of(context, builder, signature, arguments, 0), arguments[1], columns, FOUR)
        inputs = _starts(builder, memory_of(context, builder, signature, arguments, 2), arguments[3], columns, PAIR)
        out = memory_of(context, builder, signature, arguments, 6)
        places = [cgutils.alloca_once(builder, VECTOR) for _ in range(FOUR * PAIR)]
        for place in places:
            builder.store(ir.Constant(VECTOR, [0.0] * LANES), place)
        fma = _known(builder, f"llvm.fma.v{LANES}f32", VECTOR, [VECTOR] * 3)
        with cgutils.for_range_slice(builder, arguments[4], arguments[5], INDEX(LANES), intp=INDEX) as (column, _):
            values = [_load(builder, start, column) for start in inputs]
            for a, start in enumerate(weights):
                weight = _load(builder, start, column)
                for b, value in enumerate(values):
                    place = places[a * PAIR + b]
                    builder.store(builder.call(fma, [weight, value, builder.load(place)]), place)
        add_up = _known(builder, f"llvm.vector.reduce.fadd.v{LANES}f32", FLOAT, [FLOAT, VECTOR])
        for number, place in enumerate(places):
            found = builder.call(add_up, [FLOAT(0.0), builder.load(place)], fastmath=("reassoc",))
            builder.store(found, builder.gep(out, [INDEX(number)]))
        return context.get_dummy_value()

    return types.void(matrix, row, x, first, start, stop, sums), generate


def _starts(builder: Any, data: Any, row: Any, columns: Any, count: int) -> list[Any]:
    return [builder.gep(data, [builder.mul(builder.add(row, INDEX(i)), columns)]) for i in range(count)]


def _load(builder: Any, start: Any, column: Any) -> Any:
    place = builder.bitcast(builder.gep(start, [column]), VECTOR.as_pointer())
    return builder.load(place, align=4)


def _known(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    known = builder.module.globals.get(name)
    return known or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


@compiled
def times_pairs(matrix: np.ndarray, x: np.ndarray, out: np.ndarray, low: int, high: int, add: bool) -> None:
    """Rows ``low`` to ``high`` of ``matrix`` times an even number of rows ``x`` into (or onto) ``out``.

    Columns come in pieces that stay in the first cache, with the next four rows asked for meanwhile.
    """
    columns, whole = matrix.shape[1], low + (high - low) // FOUR * FOUR
    piece = min(columns, PIECE)
    sums = np.empty(FOUR * PAIR, np.float32)
    for start in range(0, columns, piece):
        stop = min(columns, start + piece)
        full, onto = stop - (stop - start) % LANES, add or start > 0
        for row in range(low, whole, FOUR):
            for first in range(0, len(x), PAIR):
                _ask_ahead(matrix, row + FOUR, start, stop, first, len(x))
                _tile(matrix, row, x, first, start, full, sums)
                if full < stop:
                    _add_tail(matrix, row, x, first, full, stop, sums)
                for a in range(FOUR):
                    for b in range(PAIR):
                        found = sums[a * PAIR + b]
                        out[first + b, row + a] = found + (out[first + b, row + a] if onto else np.float32(0))
        for row in range(whole, high):
            for at in range(len(x)):
                found = _dot(matrix[row, start:stop], x[at, start:stop])
                out[at, row] = found + (out[at, row] if onto else np.float32(0))


@compiled
def _add_tail(matrix: np.ndarray, row: int, x: np.ndarray, first: int, start: int, stop: int, sums: np.ndarray) -> None:
    """:func:`_tile`, onto ``sums``, for fewer columns than make a vector."""
    for a in range(FOUR):
        for b in range(PAIR):
            sums[a * PAIR + b] += _dot(matrix[row + a, start:stop], x[first + b, start:stop])


@compiled
def _ask_ahead(matrix: np.ndarray, row: int, start: int, stop: int, first: int, rows: int) -> None:
    """The share of input rows ``first``, ... in asking for four rows of the matrix, columns ``start`` to ``stop``."""
    size = (stop - start) * matrix.itemsize
    begin, end = size * first // rows // LINE * LINE, size * (first + PAIR) // rows
    for a in range(FOUR):
        for offset in range(begin, end, LINE):
            prefetch(matrix, ((row + a) * matrix.shape[1] + start) * matrix.itemsize + offset)


@compiled
def _dot(a: np.ndarray, b: np.ndarray) -> np.float32:
    total = np.float32(0)
    for i in range(len(a)):
        total += a[i] * b[i]
    return total
