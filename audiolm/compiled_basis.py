"""What compiled code rests on: how it is compiled, memory asked for ahead, arrays by address, threads that meet.

The threads of a step meet fifty times a token, at a cost of well under a microsecond; handing each product to a pool
of threads would cost a hundred times that. Compiled code that is kept on disk is found by its own file's age, so after
a change to one ``compiled_*.py`` remove ``audiolm/__pycache__/*.nb?``: what calls it is older.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import carray, types  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic

__all__ = ["AHEAD", "LINE", "bytes_at", "compiled", "floats_at", "in_code", "meet", "memory_of", "prefetch"]

AHEAD, LINE = 4096, 64
"""Bytes by which memory is asked for ahead of its use, and bytes that come together: 1.6 times the speed for 8-bit
weights, 1.25 times for keys and values, nothing for float32 weights, which the processor follows by itself."""
FAST = {"reassoc", "contract", "nsz", "arcp"}
"""Sums may be reordered; infinities and NaN keep their meaning."""
PATIENCE = 20_000
"""Looks at the counter (20 to 40 us) before a waiting thread sleeps between looks: on a busy machine the one it waits
for may have to get its processor first."""

_usleep = types.ExternalFunction("usleep", types.int32(types.uint32))


def compiled(function: Callable[..., Any]) -> Any:
    """Compiled at its first call, kept on disk for the next process where a folder can be written."""
    for cache in (True, False):
        try:
            return numba.njit(function, nogil=True, cache=cache, error_model="numpy", fastmath=FAST)
        except RuntimeError:
            if not cache:
                raise
    return function


def in_code(function: Callable[..., Any]) -> Any:
    """A function that writes what compiled code does at its place; called with one argument less."""
    return intrinsic(function)


@in_code
def _arrive(_context: Any, counter: Any) -> Any:
    """One more at ``counter[0]``; what this thread wrote before is seen by whoever reads the new count."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = memory_of(context, builder, signature, arguments)
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(counter), generate


@in_code
def _arrived(_context: Any, counter: Any) -> Any:
    """``counter[0]`` as the other threads have left it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = memory_of(context, builder, signature, arguments)
        return builder.load_atomic(place, "acquire", 8)

    return types.int64(counter), generate


@in_code
def prefetch(_context: Any, array: Any, offset: Any) -> Any:
    """Ask for the line ``offset`` bytes into ``array``; an offset beyond its end does no harm."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = builder.bitcast(memory_of(context, builder, signature, arguments), ir.IntType(8).as_pointer())
        place, number = builder.gep(start, [arguments[1]]), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        function = builder.module.globals.get("llvm.prefetch.p0")
        function = function or ir.Function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [place, number(0), number(3), number(1)])  # to read, into the first cache, data
        return context.get_dummy_value()

    return types.void(array, offset), generate


@in_code
def _pointer(_context: Any, address: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), generate


def memory_of(context: Any, builder: Any, signature: Any, arguments: Any, number: int = 0) -> Any:
    """Where the values of an array among the arguments of :func:`in_code` lie."""
    return context.make_array(signature.args[number])(context, builder, arguments[number]).data


@compiled
def meet(counter: np.ndarray, goal: int) -> None:
    """Wait until ``counter`` (int64, one value) has been raised to ``goal``, once by each thread and meeting."""
    _arrive(counter)
    looks = 0
    while _arrived(counter) < goal:
        looks += 1
        if looks > PATIENCE:
            _usleep(1)


@compiled
def floats_at(address: int, rows: int, columns: int) -> np.ndarray:
    """The C-contiguous float32 ``[rows, columns]`` that lies at ``address`` and that the caller keeps alive."""
    return carray(_pointer(address), (rows, columns), np.float32)


@compiled
def bytes_at(address: int, rows: int, columns: int) -> np.ndarray:
    """The same of int8."""
    return carray(_pointer(address), (rows, columns), np.int8)
