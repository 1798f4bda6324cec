"""What a checkpoint may ask for, checked before memory is taken: a stranger's file cannot make a small machine fall.

A weights file is judged by its header against its own size. A module is first built on the meta device, where tensors
have shapes and no memory, under a count of what it registers; only where every name and shape is that of the weights
file is it built in earnest. So memory and time are bounded by the file on disk, whatever the configuration says.
"""

from __future__ import annotations

import json
import math
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

__all__ = ["MAX_CONFIG_BYTES", "HeaderError", "UnfitConfigError", "check_weights_file", "outline"]

MAX_CONFIG_BYTES = 16 << 20
MAX_HEADER_BYTES = 16 << 20
MAX_WEIGHTS_BYTES = 64 << 30
MAX_DIMENSIONS = 8
HEADER_LENGTH_BYTES = 8
"""A safetensors file starts with its header's length as a little-endian 64-bit number."""
DTYPE_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8,
}  # fmt: skip
MODULES_PER_TENSOR, SPARE_MODULES = 20, 2_000
"""A part registers fewer modules than this per tensor of its file; a configuration that goes on has run away."""

Module = TypeVar("Module", bound=nn.Module)


class HeaderError(ValueError):
    """A weights file whose header and size do not fit; the message is the end of a sentence about the file."""


class UnfitConfigError(ValueError):
    """A configuration that makes no module, or one far beyond its weights; the message says which."""


def check_weights_file(path: Path) -> None:
    """Compare a safetensors file's header with its size, reading nothing but the header.

    Raises:
        HeaderError: truncated, beyond the limits, or with a shape that does not fill its place.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size > MAX_WEIGHTS_BYTES:
        raise HeaderError(f"has {size:,} bytes and at most {MAX_WEIGHTS_BYTES:,} are read; split the model")
    with path.open("rb") as stream:
        start = stream.read(HEADER_LENGTH_BYTES)
        if len(start) < HEADER_LENGTH_BYTES:
            raise _not_whole(size)
        length = struct.unpack("<Q", start)[0]
        if length > size - HEADER_LENGTH_BYTES:
            raise _not_whole(size)
        if length > MAX_HEADER_BYTES:
            raise HeaderError(f"declares a header of {length:,} bytes and at most {MAX_HEADER_BYTES:,} are read")
        text = stream.read(length)
    try:
        header = json.loads(text)
        ends = [_end_of(name, entry) for name, entry in header.items() if name != "__metadata__"]
    except HeaderError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise _not_whole(size) from None
    if HEADER_LENGTH_BYTES + length + max(ends, default=0) != size:
        raise _not_whole(size)


def _not_whole(size: int) -> HeaderError:
    return HeaderError(f"truncated or not a safetensors file ({size} bytes); copy the checkpoint again")


def _end_of(name: str, entry: Mapping[str, Any]) -> int:
    """Where a tensor's bytes end, after checking that its shape fills them."""
    begin, end = entry["data_offsets"]
    shape = entry["shape"]
    if any(type(number) is not int or number < 0 for number in (begin, end, *shape)):
        raise ValueError("offsets and shapes are whole numbers")
    if len(shape) > MAX_DIMENSIONS or math.prod(shape) * DTYPE_BYTES[entry["dtype"]] != end - begin:
        raise HeaderError(
            f"weight {name[:80]!r} of shape {str(shape)[:80]} does not fill its {end - begin:,} bytes;"
            " copy the checkpoint again"
        )
    return end


def outline(make: Callable[[], Module], state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Names and shapes of the module that ``make`` builds, as tensors without memory.

    Raises:
        UnfitConfigError: nothing can be built so, or more than belongs to ``state``.
    """
    most = max((tensor.numel() for tensor in state.values()), default=0)
    try:
        with _counted(len(state), most), torch.device("meta"):
            return make().state_dict()
    except UnfitConfigError:
        raise
    except (RuntimeError, TypeError, ValueError, ArithmeticError, LookupError, MemoryError) as error:
        what = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise UnfitConfigError(f"the configuration makes no such part ({what})") from error


@contextmanager
def _counted(tensors: int, most: int) -> Iterator[None]:
    """Refuse a module of this thread that registers far more modules than its file has tensors, or a larger tensor."""
    limit, thread = SPARE_MODULES + MODULES_PER_TENSOR * tensors, threading.get_ident()
    count = 0

    def module_seen(module: nn.Module, name: str, part: nn.Module | None) -> None:
        nonlocal count
        count += threading.get_ident() == thread
        if count > limit:
            raise UnfitConfigError(f"the configuration asks for more than {limit:,} layers; the weights hold {tensors}")

    def tensor_seen(module: nn.Module, name: str, tensor: Tensor | None) -> None:
        if tensor is not None and tensor.numel() > most:
            raise UnfitConfigError(
                f"the configuration asks for a weight of {tensor.numel():,} numbers; the largest has {most:,}"
            )

    kept = [
        hooks.register_module_module_registration_hook(module_seen),
        hooks.register_module_parameter_registration_hook(tensor_seen),
    ]
    try:
        yield
    finally:
        for hook in kept:
            hook.remove()
