"""Distances between short sequences of unequal length, many pairs at once: time warping and edit distance.

All pairs of a batch go through the table of partial costs together, one anti-diagonal at a time.
"""

from __future__ import annotations

import numpy as np

__all__ = ["edit_distance", "warped_distance"]


def warped_distance(costs: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Mean cost along the cheapest warping path of each pair, float64 ``[pair]``.

    ``costs``: frame-to-frame distances ``[pair, row, column]``; ``rows`` and ``columns``: how many of each count, at
    least 1, ``[pair]``. A path goes from the first to the last cell by steps down, right or diagonal (Sakoe and Chiba
    1978, weight 1 per cell); its cost is divided by its cells. Among equally cheap paths the shortest counts, so that
    the distance is symmetric.
    """
    pairs, height, width = costs.shape
    skewed = _skew(costs.astype(np.float64))  # [diagonal, pair, row]
    total = np.full((height + width, pairs, height + 1), np.inf)  # row 0 is the border
    cells = np.zeros(total.shape, dtype=np.int32)
    total[0, :, 1], cells[0, :, 1] = skewed[0, :, 0], 1
    for diagonal in range(1, height + width - 1):
        before = (total[diagonal - 1], cells[diagonal - 1])
        best, length = _cheaper(before[0][:, :-1], before[1][:, :-1], before[0][:, 1:], before[1][:, 1:])
        if diagonal > 1:
            corner = (total[diagonal - 2][:, :-1], cells[diagonal - 2][:, :-1])
            best, length = _cheaper(best, length, *corner)
        total[diagonal, :, 1:] = best + skewed[diagonal]
        cells[diagonal, :, 1:] = length + 1
    end = (rows + columns - 2, np.arange(pairs), rows)
    return total[end] / cells[end]


def edit_distance(
    first: np.ndarray, second: np.ndarray, first_lengths: np.ndarray, second_lengths: np.ndarray
) -> np.ndarray:
    """Levenshtein distance of integer sequences over the longer one's length, in [0, 1], float64 ``[pair]``.

    ``first``, ``second``: padded ``[pair, position]``; lengths at least 1, ``[pair]``.
    """
    pairs, width = second.shape
    row = np.broadcast_to(np.arange(width + 1), (pairs, width + 1)).astype(np.int32)
    table = [row]
    for position in range(first.shape[1]):
        same = first[:, position, None] == second
        down = np.minimum(row[:, 1:] + 1, row[:, :-1] + 1 - same)
        start = np.full((pairs, 1), position + 1, dtype=np.int32)
        down = np.concatenate([start, down], axis=1) - np.arange(width + 1)
        row = (np.minimum.accumulate(down, axis=1) + np.arange(width + 1)).astype(np.int32)
        table.append(row)
    distances = np.stack(table)[first_lengths, np.arange(pairs), second_lengths]
    return distances / np.maximum(first_lengths, second_lengths)


def _skew(costs: np.ndarray) -> np.ndarray:
    """``[diagonal, pair, row]`` from ``[pair, row, column]``; cells outside the table are infinite."""
    pairs, height, width = costs.shape
    skewed = np.full((height + width - 1, pairs, height), np.inf)
    for row in range(height):
        skewed[row : row + width, :, row] = costs[:, row].T
    return skewed


def _cheaper(cost: np.ndarray, length: np.ndarray, other_cost: np.ndarray, other_length: np.ndarray):
    wins = (other_cost < cost) | ((other_cost == cost) & (other_length < length))
    return np.where(wins, other_cost, cost), np.where(wins, other_length, length)
