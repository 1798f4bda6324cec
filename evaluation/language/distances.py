"""Distances between ABX items under a representation: features (angle) or tokens (identity, edit distance)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.language.dtw import edit_distance, warped_distance
from evaluation.language.items import AbxItem

__all__ = ["DISTANCES", "cut_items", "pair_distances"]

DISTANCES = ("angular", "identity", "edit", "centroid")
"""``angular``: angle between frames over pi, warped in time. ``identity``: 0 for the same token and 1 for another (the
angle between one-hot vectors, up to a factor), warped in time. ``edit``: Levenshtein over the longer length.
``centroid``: ``angular`` on the vectors behind the tokens (:mod:`evaluation.language.comparison` looks them up)."""
CELLS_AT_ONCE = 400_000


@dataclass(frozen=True, slots=True)
class _Padded:
    values: np.ndarray
    lengths: np.ndarray


def cut_items(
    items: Sequence[AbxItem], representations: Mapping[str, np.ndarray], frame_rate_hz: float, min_frames: int = 2
) -> list[np.ndarray | None]:
    """Each item's frames: those whose centre lies in [onset, offset); None where fewer than ``min_frames`` do.

    ``representations``: features ``[frame, dim]`` or tokens ``[frame]`` by file.

    Raises:
        ValueError: an item's file has no representation, or ends well before the item (a wrong frame rate).
    """
    pieces: list[np.ndarray | None] = []
    for item in items:
        if item.file not in representations:
            raise ValueError(f"item of {item.file}: no such utterance was encoded; give its recording")
        frames = representations[item.file]
        first = max(0, int(np.ceil(frame_rate_hz * item.onset_s - 0.5)))
        end = int(np.ceil(frame_rate_hz * item.offset_s - 0.5))
        if end > len(frames) + 1 + 0.05 * frame_rate_hz:
            raise ValueError(
                f"item of {item.file} ends at {item.offset_s:g} s, its {len(frames)} frames at"
                f" {len(frames) / frame_rate_hz:g} s; check the frame rate ({frame_rate_hz:g} Hz)"
            )
        piece = frames[first:end]
        pieces.append(piece if len(piece) >= max(1, min_frames) else None)
    return pieces


def pair_distances(
    pieces: Sequence[np.ndarray | None], first: np.ndarray, second: np.ndarray, distance: str
) -> np.ndarray:
    """Distance of ``pieces[first[k]]`` and ``pieces[second[k]]``, float64 ``[pair]``; batches of like length."""
    if distance not in DISTANCES:
        raise ValueError(f"distance is {distance!r}; use one of {', '.join(DISTANCES)}")
    if distance == "centroid":
        raise ValueError("distance centroid needs the vectors behind the tokens; look them up and use angular")
    prepared = [_prepare(piece, distance) for piece in pieces]
    lengths = np.array([0 if piece is None else len(piece) for piece in pieces])
    order = np.lexsort((lengths[second], lengths[first]))
    result = np.empty(len(order))
    at = 0
    while at < len(order):
        row, column = lengths[first[order[at]]], int(lengths[second].max())
        count = max(1, CELLS_AT_ONCE // (int(row) * column))
        chosen = order[at : at + count]
        a, b = (_pad([prepared[i] for i in side[chosen]]) for side in (first, second))
        result[chosen] = _batch(a, b, distance)
        at += count
    return result


def _prepare(piece: np.ndarray | None, distance: str) -> np.ndarray:
    if piece is None:
        return np.zeros((0,))
    if distance != "angular":
        if piece.ndim != 1:
            raise ValueError(f"distance {distance} is for tokens [frame], not features of shape {list(piece.shape)}")
        return piece
    if piece.ndim != 2:
        raise ValueError(f"distance angular is for features [frame, dim], not an array of shape {list(piece.shape)}")
    wide = piece.astype(np.float64)
    return wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)


def _pad(rows: Sequence[np.ndarray]) -> _Padded:
    lengths = np.array([len(row) for row in rows])
    values = np.zeros((len(rows), int(lengths.max()), *rows[0].shape[1:]), dtype=rows[0].dtype)
    for index, row in enumerate(rows):
        values[index, : len(row)] = row
    return _Padded(values, lengths)


def _batch(a: _Padded, b: _Padded, distance: str) -> np.ndarray:
    if distance == "edit":
        return edit_distance(a.values, b.values, a.lengths, b.lengths)
    if distance == "identity":
        costs = (a.values[:, :, None] != b.values[:, None, :]).astype(np.float64)
    else:
        cosine = np.matmul(a.values, b.values.transpose(0, 2, 1))
        costs = np.arccos(np.clip(cosine, -1.0, 1.0)) / np.pi
    return warped_distance(costs, a.lengths, b.lengths)
