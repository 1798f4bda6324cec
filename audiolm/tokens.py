"""Token layouts of the three stages: which id stands where, and which ids are legal there.

Sequences (AudioLM, section III-C), ``z`` semantic tokens at 25 Hz, ``y^l`` codes of level ``l`` at 50 Hz:

====== ==================================== ==============================================
stage  condition                            target
====== ==================================== ==============================================
semantic  BOS                               z_1 .. z_T, then EOS where the utterance ends
coarse    BOS z_1 .. z_T SEP                y_1^1 .. y_1^4  y_2^1 .. (row-major over time, level)
fine      BOS y_1^1 .. y_1^4 y_2^1 .. SEP   y_1^5 .. y_1^12  y_2^5 ..
====== ==================================== ==============================================

Level ``l`` owns the ids ``[first + l * codebook_size, first + (l + 1) * codebook_size)``: no two levels share an
id, and a position's legal range is one contiguous slice, so an illegal code cannot be drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

__all__ = [
    "FRAMES_PER_SEMANTIC",
    "Layout",
    "Runs",
    "StageKind",
    "TokenRows",
    "checked_ids",
    "deduplicate",
    "flatten",
    "unflatten",
]

StageKind = Literal["semantic", "coarse", "fine"]
FRAMES_PER_SEMANTIC = 2
"""Acoustic frames (20 ms) per semantic token (40 ms)."""
IGNORED = -1
"""Target of a position that is not learnt."""


class Runs(NamedTuple):
    """Tokens without immediate repeats, and how many frames each lasts; both int64 ``[run]``."""

    tokens: np.ndarray
    durations: np.ndarray

    def expand(self) -> np.ndarray:
        """The frames again, int64 ``[frame]``."""
        return np.repeat(self.tokens, self.durations)


def checked_ids(values: np.ndarray, what: str, size: int, levels: int, decoder: str) -> np.ndarray:
    """Semantic tokens ``[frame]`` or codes ``[level, frame]`` as int64, for a decoder of all levels.

    Raises:
        ValueError: an id outside 0 to ``size - 1``, or codes of another number of levels than ``decoder`` has.
    """
    values = np.asarray(values, dtype=np.int64)
    if values.size and (values.min() < 0 or values.max() >= size):
        raise ValueError(f"{what} reach from {values.min()} to {values.max()}; use 0 to {size - 1}")
    if values.ndim == 2 and len(values) != levels:
        raise ValueError(f"{what} have {len(values)} levels; the {decoder} has {levels}")
    return values


def deduplicate(tokens: np.ndarray) -> Runs:
    """Collapse immediate repeats of ``tokens`` ``[frame]``, as GSLM and AudioLM do before stages 1 and 2."""
    tokens = np.asarray(tokens, dtype=np.int64)
    starts = np.flatnonzero(np.diff(tokens, prepend=tokens[:1] - 1))
    return Runs(tokens[starts], np.diff(starts, append=len(tokens)))


def flatten(codes: np.ndarray) -> np.ndarray:
    """Codes ``[level, frame]`` row-major over (time, level): ``[frame * level]``."""
    return np.ascontiguousarray(np.asarray(codes).T).reshape(-1)


def unflatten(flat: np.ndarray, levels: int) -> np.ndarray:
    """Inverse of :func:`flatten`: ``[frame * level]`` to ``[level, frame]``.

    Raises:
        ValueError: the length is not a multiple of ``levels``.
    """
    flat = np.asarray(flat)
    if len(flat) % levels:
        raise ValueError(f"{len(flat)} flat codes are not a whole number of frames of {levels} levels")
    return np.ascontiguousarray(flat.reshape(-1, levels).T)


class TokenRows(NamedTuple):
    """Sequences as the transformer reads them; every array has one row per sequence.

    ``ids``: ``[batch, token]``, the inputs; ``targets``: ``[batch, token]``, the id that follows, or -1;
    ``roles``: ``[batch, token]``, what the id that follows is; ``positions``: ``[batch, token]``;
    ``frames``: ``[batch, token]``, 1 + the frame of the id that follows, 0 outside the target;
    ``aligned``: ``[batch, frame, ids]``, condition ids at the same time as the target's frame.
    """

    ids: np.ndarray
    targets: np.ndarray
    roles: np.ndarray
    positions: np.ndarray
    frames: np.ndarray
    aligned: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The id plan of one stage.

    ``n_semantic``: semantic vocabulary; ``n_coarse`` and ``n_fine``: codec levels of stages 2 and 3;
    ``time_positions``: number the positions by the time they stand for, so that a code and its condition are near.
    """

    kind: StageKind
    n_semantic: int = 1024
    n_coarse: int = 4
    n_fine: int = 8
    codebook_size: int = 1024
    time_positions: bool = False

    def __post_init__(self) -> None:
        for name in ("n_semantic", "n_coarse", "n_fine", "codebook_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; use at least 1")

    @property
    def target_levels(self) -> int:
        """Ids per target frame."""
        return {"semantic": 1, "coarse": self.n_coarse, "fine": self.n_fine}[self.kind]

    @property
    def condition_size(self) -> int:
        """Ids that only the condition uses; the target's ids follow them."""
        return {"semantic": 0, "coarse": self.n_semantic, "fine": self.n_coarse * self.codebook_size}[self.kind]

    @property
    def target_size(self) -> int:
        """Ids per target level."""
        return self.n_semantic if self.kind == "semantic" else self.codebook_size

    @property
    def end(self) -> int:
        """EOS; directly behind the semantic tokens, so that stage 1's legal range with EOS is still one slice."""
        return self.condition_size + self.target_levels * self.target_size

    @property
    def begin(self) -> int:
        return self.end + 1

    @property
    def separator(self) -> int:
        return self.end + 2

    @property
    def vocabulary(self) -> int:
        return self.end + 3

    @property
    def n_roles(self) -> int:
        """Role 0 is a condition or special id, role ``1 + level`` a target of that level."""
        return 1 + self.target_levels

    @property
    def aligned_ids(self) -> int:
        """Condition ids that share a target frame's time."""
        return {"semantic": 0, "coarse": 1, "fine": self.n_coarse}[self.kind]

    def legal_range(self, level: int, *, may_end: bool = False) -> tuple[int, int]:
        """First id and one past the last id that may stand at a target position of ``level`` (0-based in the stage)."""
        if not 0 <= level < self.target_levels:
            last = self.target_levels - 1
            raise ValueError(f"level {level} does not exist; stage {self.kind} has levels 0 to {last}")
        first = self.condition_size + level * self.target_size
        return first, first + self.target_size + int(may_end and self.kind == "semantic")

    def head_rows(self, level: int, *, may_end: bool = False) -> slice:
        """Rows of an output head over ids ``condition_size`` to ``end`` that stand for :meth:`legal_range`."""
        first, stop = self.legal_range(level, may_end=may_end)
        return slice(first - self.condition_size, stop - self.condition_size)

    def condition_ids(self, condition: np.ndarray) -> np.ndarray:
        """Condition as ids ``[token]``: semantic tokens ``[token]`` (coarse) or codes ``[level, frame]`` (fine)."""
        condition = np.asarray(condition, dtype=np.int64)
        if self.kind == "semantic":
            return np.zeros(0, dtype=np.int64)
        if self.kind == "coarse":
            self._check("semantic tokens", condition, 1, self.n_semantic)
            return condition
        self._check("coarse codes", condition, 2, self.codebook_size)
        return flatten(condition + np.arange(self.n_coarse)[:, None] * self.codebook_size)

    def target_ids(self, target: np.ndarray) -> np.ndarray:
        """Target codes ``[level, frame]`` (semantic tokens: ``[1, frame]``) as ids ``[frame * level]``."""
        target = np.asarray(target, dtype=np.int64)
        self._check("target codes", target, 2, self.target_size)
        if len(target) != self.target_levels:
            raise ValueError(f"target has {len(target)} levels; stage {self.kind} has {self.target_levels}")
        return flatten(target + np.arange(self.target_levels)[:, None] * self.target_size + self.condition_size)

    def target_codes(self, ids: np.ndarray) -> np.ndarray:
        """Inverse of :meth:`target_ids`: ``[frame * level]`` to ``[level, frame]``."""
        codes = unflatten(ids, self.target_levels)
        return codes - np.arange(self.target_levels)[:, None] * self.target_size - self.condition_size

    def rows(self, condition: np.ndarray, target: np.ndarray, *, ends: bool = False) -> TokenRows:
        """One training sequence (batch axis of length 1): every target id is predicted from all before it."""
        prefix = self.prefix(condition, target)
        ids = np.append(prefix.ids[0], self.end)
        targets = np.full(len(ids) - 1, IGNORED)
        n_target = self.target_levels * np.asarray(target).shape[1]
        if n_target:
            start = len(ids) - 2 - n_target
            targets[start : start + n_target] = ids[start + 1 : start + 1 + n_target]
        if ends and self.kind == "semantic":
            targets[-1] = self.end
        return prefix._replace(targets=targets[None])

    def prefix(self, condition: np.ndarray, known: np.ndarray) -> TokenRows:
        """What stands before the next id to draw: BOS, condition, SEP, and the ``known`` target ``[level, frame]``."""
        head = self.condition_ids(condition)
        tail = self.target_ids(known)
        opening = [self.begin] if self.kind == "semantic" else [self.begin, *head, self.separator]
        ids = np.concatenate([np.asarray(opening, dtype=np.int64), tail])
        steps = np.arange(len(tail) + 1)
        before = np.zeros(len(opening) - 1, dtype=np.int64)
        roles = np.concatenate([before, 1 + steps % self.target_levels])
        frames = np.concatenate([before, 1 + steps // self.target_levels])
        aligned = self._aligned(np.asarray(condition), head)
        positions = self._positions(len(head), len(tail), np.asarray(condition))
        targets = np.full(len(ids), IGNORED)
        return TokenRows(ids[None], targets[None], roles[None], positions[None], frames[None], aligned[None])

    def _positions(self, n_head: int, n_tail: int, condition: np.ndarray) -> np.ndarray:
        tail = np.arange(n_tail)
        if self.kind == "semantic":
            return np.concatenate([[-1], tail])
        if not self.time_positions:
            return np.arange(n_head + 2 + n_tail)
        if self.kind == "coarse":
            head = np.arange(n_head) * FRAMES_PER_SEMANTIC * self.target_levels
        else:
            step = np.arange(n_head)
            spread = max(1, self.target_levels // self.n_coarse)
            head = step // self.n_coarse * self.target_levels + step % self.n_coarse * spread
        return np.concatenate([[-2], head, [-1], tail])

    def _aligned(self, condition: np.ndarray, head: np.ndarray) -> np.ndarray:
        if self.kind == "semantic":
            return np.zeros((0, 0), dtype=np.int64)
        if self.kind == "coarse":
            return np.repeat(head, FRAMES_PER_SEMANTIC)[:, None]
        return head.reshape(-1, self.n_coarse)

    def _check(self, what: str, values: np.ndarray, ndim: int, size: int) -> None:
        if values.ndim != ndim or (ndim == 2 and what == "coarse codes" and len(values) != self.n_coarse):
            raise ValueError(f"{what} have shape {values.shape}; stage {self.kind} does not fit them")
        if values.size and (values.min() < 0 or values.max() >= size):
            raise ValueError(f"{what} reach from {values.min()} to {values.max()}; use 0 to {size - 1}")


def stack(rows: list[TokenRows], *, left: bool, pad_id: int) -> TokenRows:
    """Join sequences into one batch, padding on the right (training) or on the left (sampling)."""
    width = max(row.ids.shape[1] for row in rows)
    span = max(row.aligned.shape[1] for row in rows)

    def padded(name: str, fill: int) -> np.ndarray:
        out = np.full((len(rows), width), fill, dtype=np.int64)
        for index, row in enumerate(rows):
            values = getattr(row, name)[0]
            place = slice(width - len(values), None) if left else slice(len(values))
            out[index, place] = values
        return out

    aligned = np.full((len(rows), span, rows[0].aligned.shape[2]), pad_id, dtype=np.int64)
    for index, row in enumerate(rows):
        aligned[index, : row.aligned.shape[1]] = row.aligned[0]
    return TokenRows(
        padded("ids", pad_id),
        padded("targets", IGNORED),
        padded("roles", 0),
        padded("positions", 0),
        padded("frames", 0),
        aligned,
    )
