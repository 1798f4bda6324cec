"""Training recordings played faster and slower: more voices for the language models than were recorded.

Playing at another speed moves pitch, formants and rate together, which to a tokenizer is another speaker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torchaudio.functional as AF

from audiolm.dataset import Recording

__all__ = ["PlayedAt", "at_speeds"]

MARGIN = 256
"""Samples beyond a stretch that are read with it, so that cutting a recording changes nothing inside the cut."""
FINENESS = 100
"""Speeds are told apart in hundredths."""
SLOWEST, FASTEST = 0.5, 2.0


class PlayedAt:
    """``samples`` ``[time]`` at ``speed`` times their own: ``len`` samples, and slices that give float32."""

    def __init__(self, samples: Any, speed: float) -> None:
        self._samples = samples
        self._speed = round(speed * FINENESS)

    def __len__(self) -> int:
        return len(self._samples) * FINENESS // self._speed

    def __getitem__(self, wanted: slice) -> np.ndarray:
        start, stop, step = wanted.indices(len(self))
        if step != 1:
            raise ValueError(f"step is {step}; samples are read in one stretch")
        if stop <= start:
            return np.zeros(0, dtype=np.float32)
        block = max(0, start - MARGIN) // FINENESS
        first = block * self._speed
        last = -(-(stop + MARGIN) * self._speed // FINENESS)
        piece = torch.from_numpy(np.array(self._samples[first:last], dtype=np.float32))
        played = AF.resample(piece, self._speed, FINENESS).numpy()
        offset = start - block * FINENESS
        played = played[offset : offset + stop - start]
        return np.pad(played, (0, stop - start - len(played)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.float32, copy=False)


def at_speeds(recordings: Sequence[Recording], speeds: Sequence[float]) -> list[Recording]:
    """Every recording once per speed; speed 1 is the recording itself, the others are read as they are needed.

    Raises:
        ValueError: no speed, a speed twice, or one outside 0.5 to 2.
    """
    if not speeds or len({round(speed * FINENESS) for speed in speeds}) < len(speeds):
        raise ValueError(f"speeds are {list(speeds)}; give at least one, each once (to a hundredth)")
    outside = [speed for speed in speeds if not SLOWEST <= speed <= FASTEST]
    if outside:
        raise ValueError(f"speed {outside[0]} is outside {SLOWEST} to {FASTEST}")
    varied = []
    for speed in speeds:
        for item in recordings:
            if round(speed * FINENESS) == FINENESS:
                varied.append(item)
            else:
                name = f"{item.utterance_id}@{speed:.2f}"
                varied.append(Recording(name, f"{item.speaker_id}@{speed:.2f}", PlayedAt(item.samples, speed)))
    return varied
