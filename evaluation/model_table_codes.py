"""How much of its codebooks the codec uses on real recordings, as two values of the model table."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from evaluation.bootstrap import Interval, Resampler
from evaluation.model_table import Finding

__all__ = ["CodeCounts", "code_rules", "codes_in_use", "lowest_entropy_bit"]


class CodeCounts:
    """How often each code of each level occurs, speaker by speaker."""

    def __init__(self, codebook_size: int) -> None:
        self._size = codebook_size
        self._counts: dict[str, np.ndarray] = {}
        self.clips = 0

    def add(self, speaker: str, codes: np.ndarray) -> None:
        """Count one recording's codes, int ``[level, frame]`` below the codebook's size.

        Raises:
            ValueError: codes outside the codebook, or another number of levels than before.
        """
        if codes.ndim != 2 or (codes.size and not 0 <= codes.min() <= codes.max() < self._size):
            raise ValueError(f"codes of shape {codes.shape} are not [level, frame] below {self._size}; check the codec")
        rows = np.stack([np.bincount(level, minlength=self._size) for level in codes])
        known = self._counts.get(speaker)
        if any(len(rows) != len(counts) for counts in self._counts.values()):
            raise ValueError(f"a recording has {len(rows)} levels of codes and others do not; use one codec")
        self._counts[speaker] = rows if known is None else known + rows
        self.clips += 1

    @property
    def speakers(self) -> tuple[str, ...]:
        return tuple(sorted(self._counts))

    def array(self) -> np.ndarray:
        """Float64 ``[speaker, level, code]``, speakers in order.

        Raises:
            ValueError: nothing was counted.
        """
        if not self._counts:
            raise ValueError("no codes were counted; give at least one recording")
        return np.stack([self._counts[speaker] for speaker in self.speakers]).astype(np.float64)


def codes_in_use(counts: CodeCounts) -> Finding:
    """Share of the codebook that occurs, of the level with the smallest share.

    Without an interval: it is a bound from below, which more speech can only raise and resampling only lowers.
    """
    shares = (counts.array().sum(axis=0) > 0).mean(axis=1)  # [level]
    lowest = int(shares.argmin())
    nothing = Interval(float(shares[lowest]), math.nan, math.nan, "")
    listed = ", ".join(f"{share:.3f}" for share in shares)
    note = f"level {lowest + 1}; levels 1 to {len(shares)}: {listed}; a bound from below, more speech can only raise it"
    return Finding(interval=nothing, unit="share", n_items=counts.clips, n_speakers=len(counts.speakers), note=note)


def lowest_entropy_bit(counts: CodeCounts, resampler: Resampler) -> Finding:
    """Entropy of the codes in bit, of the level with the lowest, as counted (no correction for few frames)."""
    array = counts.array()
    entropies = _entropies(array.sum(axis=0))
    lowest = int(entropies.argmin())
    speakers = counts.speakers

    def of_weights(weights: np.ndarray) -> float:
        return float(_entropies(np.tensordot(weights, array[:, lowest : lowest + 1], axes=1))[0])

    interval = resampler.statistic(speakers, len(speakers), of_weights, (0.0, math.log2(array.shape[2])))
    listed = ", ".join(f"{entropy:.2f}" for entropy in entropies)
    frames = int(array[:, 0].sum())
    note = f"level {lowest + 1}; levels 1 to {len(entropies)}: {listed}; {frames} frames"
    return Finding(interval=interval, unit="bit", n_items=counts.clips, n_speakers=len(speakers), note=note)


def _entropies(counts: np.ndarray) -> np.ndarray:
    """Bits per code of each row of counts ``[level, code]``: ``[level]``."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    return np.sum(shares * np.log2(1.0 / np.where(shares > 0, shares, 1.0)), axis=1)


def code_rules(counts: CodeCounts, resampler: Resampler) -> Mapping[str, Callable[[], Finding | str]]:
    """The rules of this file by the name that the table gives them."""
    return {
        "codec_codes_in_use": lambda: codes_in_use(counts),
        "codec_entropy_bit": lambda: lowest_entropy_bit(counts, resampler),
    }
