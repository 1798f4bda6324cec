"""Recordings without the long silences at their ends, from which a language model would learn to say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from audiolm.dataset import Recording

__all__ = ["Stretch", "without_edge_silence"]

FRAME_S = 0.01
QUIET_DB = 35.0
"""A frame is silent where it is this far under the loud ones (the 95th percentile), or under ``FLOOR_DB``."""
FLOOR_DB = -60.0


class Stretch:
    """Samples ``start`` to ``stop`` of ``samples`` ``[time]``, read as they are needed."""

    def __init__(self, samples: Any, start: int, stop: int) -> None:
        self._samples, self._start, self._stop = samples, start, stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, wanted: slice) -> np.ndarray:
        start, stop, step = wanted.indices(len(self))
        if step != 1:
            raise ValueError(f"step is {step}; samples are read in one stretch")
        return np.asarray(self._samples[self._start + start : self._start + max(start, stop)], dtype=np.float32)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.float32, copy=False)


def without_edge_silence(recordings: Sequence[Recording], longest_s: float, sample_rate_hz: int) -> list[Recording]:
    """Each recording with at most ``longest_s`` of silence before its first and after its last sound.

    One that is silent throughout stays as it is: it has no edge.

    Raises:
        ValueError: ``longest_s`` is negative or not finite.
    """
    if not 0 <= longest_s < float("inf"):
        raise ValueError(f"edge_silence_s is {longest_s}; use 0 or more seconds")
    margin = round(longest_s * sample_rate_hz)
    kept = []
    for item in recordings:
        start, stop = _sound(item.samples, sample_rate_hz)
        start, stop = max(0, start - margin), min(len(item.samples), stop + margin)
        whole = start == 0 and stop == len(item.samples)
        kept.append(
            item if whole else Recording(item.utterance_id, item.speaker_id, Stretch(item.samples, start, stop))
        )
    return kept


def _sound(samples: Any, sample_rate_hz: int) -> tuple[int, int]:
    """First sample of the first frame that is not silent, and the end of the last one; all of a silent recording."""
    width = round(FRAME_S * sample_rate_hz)
    count = len(samples) // width
    if not count:
        return 0, len(samples)
    power = np.square(np.asarray(samples[: count * width], dtype=np.float32).reshape(count, width)).mean(axis=1)
    level_db = 10 * np.log10(power + 1e-12)
    loud = np.flatnonzero(level_db > max(FLOOR_DB, np.percentile(level_db, 95) - QUIET_DB))
    if not len(loud):
        return 0, len(samples)
    last = len(samples) if loud[-1] == count - 1 else (int(loud[-1]) + 1) * width
    return int(loud[0]) * width, last
