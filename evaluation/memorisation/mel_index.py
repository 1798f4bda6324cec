"""The most similar two seconds of training sound, by sliding log-mel windows; brute force, so nothing is missed.

Mel similarity finds copies that learnt embeddings miss (Barnett et al. 2024, on generated music). Windows have their
own mean level taken off, so a louder copy is as near as the copy itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from evaluation.acoustics.log_mel import log_mel

__all__ = ["MelIndex", "Nearest", "build_mel_index"]

RATE_HZ = 16_000
BANDS, HOP_S, WINDOW_S = 16, 0.04, 2.0
FRAMES = int(WINDOW_S / HOP_S)
STRIDE = 4
"""Training windows start every 0.16 s; clips are asked at every frame, so some starts are 20 ms apart or less."""
RANGE_DB = 50.0
BLOCK_WINDOWS = 8_192


@dataclass(frozen=True, slots=True)
class Nearest:
    """Distance in dB (root mean square over a window's frames and bands), and whose window it was."""

    distance_db: float
    name: str


@dataclass(frozen=True, slots=True)
class MelIndex:
    """``windows`` float32 ``[window, frame * band]``, each without its mean; ``names[owners[i]]`` made window i."""

    windows: np.ndarray
    owners: np.ndarray
    names: tuple[str, ...]

    def nearest(self, samples: np.ndarray) -> Nearest | None:
        """The nearest training window to any two seconds of a 16 kHz clip; None for a shorter or a silent clip."""
        asked = _windows(samples, 1)
        if not len(asked) or not len(self.windows):
            return None
        best, owner = np.inf, 0
        norms = np.square(asked).sum(axis=1)
        for start in range(0, len(self.windows), BLOCK_WINDOWS):
            block = self.windows[start : start + BLOCK_WINDOWS]
            squares = np.square(block).sum(axis=1)[:, None] + norms[None] - 2.0 * block @ asked.T
            place = int(squares.min(axis=1).argmin())
            if squares[place].min() < best:
                best, owner = float(squares[place].min()), int(self.owners[start + place])
        return Nearest(float(np.sqrt(max(best, 0.0) / asked.shape[1])), self.names[owner])


def build_mel_index(recordings: Iterable[tuple[str, np.ndarray]]) -> MelIndex:
    """An index of ``(name, samples at 16 kHz)``; recordings under two seconds have no window."""
    windows, owners, names = [], [], []
    for name, samples in recordings:
        own = _windows(samples, STRIDE)
        if len(own):
            windows.append(own)
            owners += [len(names)] * len(own)
            names.append(name)
    empty = np.zeros((0, FRAMES * BANDS), np.float32)
    return MelIndex(np.concatenate(windows) if windows else empty, np.array(owners, dtype=np.int64), tuple(names))


def _windows(samples: np.ndarray, stride: int) -> np.ndarray:
    """Float32 ``[window, frame * band]``; windows without sound (within 6 dB throughout) are left out."""
    mels = log_mel(samples, RATE_HZ, bands=BANDS, hop_s=HOP_S, window_s=2 * HOP_S)
    if len(mels) < FRAMES:
        return np.zeros((0, FRAMES * BANDS), np.float32)
    mels = np.maximum(mels, float(mels.max()) - RANGE_DB)
    pieces = np.lib.stride_tricks.sliding_window_view(mels, FRAMES, axis=0)[::stride]  # [window, band, frame]
    flat = pieces.reshape(len(pieces), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    return centred[np.abs(centred).max(axis=1) > 6.0].astype(np.float32)
