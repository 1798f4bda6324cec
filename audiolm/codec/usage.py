"""How much of its codebooks a codec uses: codes in use and entropy per level.

A level of 1024 codes can carry 10 bits. Codes that never occur, and codes that occur too often, leave a part of the
bit rate unused; a level with few codes in use has collapsed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

__all__ = ["CodeUsage", "LevelUsage", "code_usage"]


@dataclass(frozen=True, slots=True)
class LevelUsage:
    """One level: ``used`` of ``size`` codes occur, with an entropy of ``entropy_bit`` (at most log2 of ``size``).

    ``corrected_bit`` adds what counting ``frames`` samples hides on average (Miller and Madow's correction,
    (used - 1) / (2 frames) nats): below a few frames per code the plain entropy is too low.
    """

    level: int
    used: int
    size: int
    frames: int
    entropy_bit: float
    corrected_bit: float

    @property
    def share(self) -> float:
        """Share of the codebook in use, 0 to 1."""
        return self.used / self.size

    @property
    def reachable_share(self) -> float:
        """Share that as many frames would show if all codes were equally likely: what a short recording can show."""
        return 1.0 - (1.0 - 1.0 / self.size) ** self.frames


@dataclass(frozen=True, slots=True)
class CodeUsage:
    """All levels; the means are over levels."""

    levels: tuple[LevelUsage, ...]

    @property
    def mean_share(self) -> float:
        return float(np.mean([level.share for level in self.levels]))

    @property
    def mean_entropy_bit(self) -> float:
        return float(np.mean([level.entropy_bit for level in self.levels]))


def code_usage(codes: Iterable[np.ndarray], codebook_size: int) -> CodeUsage:
    """Usage over pieces of codes ``[level, frame]``, ``[batch, level, frame]`` or several of them.

    Memory is one count per code and level, however many pieces. All pieces have the same number of levels.

    Raises:
        ValueError: no codes, codes outside the codebook, or another number of levels.
    """
    counts: np.ndarray | None = None
    for piece in codes:
        array = np.asarray(piece)
        if array.ndim not in (2, 3) or array.dtype.kind not in "iu":
            raise ValueError(f"codes are {array.dtype} of shape {array.shape}; give whole numbers as [level, frame]")
        rows = np.moveaxis(array, -2, 0).reshape(array.shape[-2], -1)  # [level, batch * frame]
        if rows.size and (int(rows.min()) < 0 or int(rows.max()) >= codebook_size):
            raise ValueError(f"codes must lie in [0, {codebook_size}); found {int(rows.min())} to {int(rows.max())}")
        if counts is None:
            counts = np.zeros((len(rows), codebook_size), dtype=np.int64)
        if len(rows) != len(counts):
            raise ValueError(f"codes have {len(rows)} levels, those before had {len(counts)}; measure them apart")
        for level, row in enumerate(rows):
            counts[level] += np.bincount(row, minlength=codebook_size)
    if counts is None or not counts.sum():
        raise ValueError("there are no codes to count; give at least one frame")
    return CodeUsage(tuple(_level_usage(level, row) for level, row in enumerate(counts)))


def _level_usage(level: int, counts: np.ndarray) -> LevelUsage:
    frames, present = int(counts.sum()), counts[counts > 0]
    shares = present / frames
    entropy = float(-(shares * np.log2(shares)).sum()) + 0.0
    corrected = entropy + (len(present) - 1) / (2 * frames * np.log(2))
    limit = float(np.log2(len(counts)))
    return LevelUsage(level, len(present), len(counts), frames, entropy, min(float(corrected), limit))
