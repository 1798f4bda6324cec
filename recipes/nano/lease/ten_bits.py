"""Codes of 0 to 1,023 in ten bits each: eight in one array, two in a quarter of a byte of another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def packed(codes: Mapping[int, np.ndarray]) -> dict[str, Any]:
    """Arrays to store of codes ``[level, frame]`` by number; as many levels in each."""
    index = sorted(codes)
    flat = np.concatenate([codes[i].ravel() for i in index])
    upper = np.pad(flat >> 8, (0, -len(flat) % 4)).astype(np.uint8).reshape(-1, 4)
    return {
        "low": (flat & 255).astype(np.uint8),
        "high": upper[:, 0] | upper[:, 1] << 2 | upper[:, 2] << 4 | upper[:, 3] << 6,
        "frames": [codes[i].shape[1] for i in index],
        "index": index,
        "levels": len(codes[index[0]]),
    }


def unpacked(stored: Mapping[str, Any]) -> dict[int, np.ndarray]:
    """What :func:`packed` was given, int16."""
    low, high = np.asarray(stored["low"]), np.asarray(stored["high"])
    upper = np.stack([(high >> shift) & 3 for shift in (0, 2, 4, 6)], axis=1).ravel()[: len(low)]
    flat = low.astype(np.int16) | (upper.astype(np.int16) << 8)
    levels, found, first = int(stored["levels"]), {}, 0
    for index, frames in zip(stored["index"], stored["frames"], strict=True):
        last = first + levels * int(frames)
        found[int(index)] = flat[first:last].reshape(levels, int(frames))
        first = last
    return found
