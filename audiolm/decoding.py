"""Codes to sound, in one go or piece by piece with the same samples, in memory that does not grow with the length."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from audiolm.codec.protocol import AcousticTokenizer
from audiolm.codec.soundstream import SoundStream

__all__ = ["CONTEXT_FRAMES", "PieceDecoder", "decode_codes"]

CONTEXT_FRAMES = 100
"""Frames (2 s) of a prompt that the codec's decoder hears before a continuation."""
FOREIGN_SIDE_FRAMES = 50
"""Frames (1 s) on either side of a piece that a foreign codec, which cannot be asked for less, gets to see."""
PIECE_FRAMES = 1500
"""Longest stretch decoded at once (30 s)."""


class PieceDecoder:
    """One clip's codes in pieces to its sound in pieces; what the codec's decoder looks ahead for is held back.

    ``context``: codes ``[level, frame]`` that sounded before; their sound is not given again.
    """

    def __init__(self, codec: AcousticTokenizer, device: torch.device, context: np.ndarray) -> None:
        self._device = device
        self._pieces = _OwnPieces(codec) if isinstance(codec, SoundStream) else _OverlappedPieces(codec)
        self._skip = context.shape[1] * codec.hop
        self._context = context

    def push(self, codes: np.ndarray, *, last: bool = False) -> np.ndarray:
        """Sound that ``codes`` ``[level, frame]`` make certain, float32 ``[time]`` within +-1; the rest at the last."""
        if self._context.shape[1]:
            codes = np.concatenate([self._context, codes], axis=1)
            self._context = codes[:, :0]
        sound = self._pieces.push(_row(codes, self._device), last)
        skipped = min(self._skip, sound.shape[1])
        self._skip -= skipped
        return _samples(sound[0, skipped:])


class _OwnPieces:
    """Our codec keeps its state between pieces."""

    def __init__(self, codec: SoundStream) -> None:
        from audiolm.codec.streaming import StreamingDecoder

        self._stream = StreamingDecoder(codec)

    def push(self, codes: Tensor, last: bool) -> Tensor:
        sound = self._stream.push(codes)
        return torch.cat([sound, self._stream.finish()], dim=1) if last else sound


class _OverlappedPieces:
    """Any other codec decodes each piece together with what lies around it."""

    def __init__(self, codec: AcousticTokenizer) -> None:
        self._codec = codec
        self._codes: Tensor | None = None
        self._sounded = 0

    def push(self, codes: Tensor, last: bool) -> Tensor:
        self._codes = codes if self._codes is None else torch.cat([self._codes, codes], dim=2)
        end = max(self._sounded, self._codes.shape[2] - (0 if last else FOREIGN_SIDE_FRAMES))
        hop = self._codec.hop
        sound = self._codec.decode(self._codes)[:, self._sounded * hop : end * hop]
        dropped = max(0, end - FOREIGN_SIDE_FRAMES)
        self._codes, self._sounded = self._codes[:, :, dropped:], end - dropped
        return sound


def decode_codes(
    codec: AcousticTokenizer, codes: np.ndarray, device: torch.device, context: np.ndarray | None = None
) -> np.ndarray:
    """Sound of ``codes`` ``[level, frame]``, after ``context`` that sounded before: float32 ``[frame * hop]``."""
    before = codes[:, :0] if context is None else context
    if codes.shape[1] <= PIECE_FRAMES:
        sound = codec.decode(_row(np.concatenate([before, codes], axis=1), device))[0]
        return _samples(sound[before.shape[1] * codec.hop :])
    decoder = PieceDecoder(codec, device, before)
    starts = range(0, codes.shape[1], PIECE_FRAMES)
    pieces = [decoder.push(codes[:, a : a + PIECE_FRAMES], last=a + PIECE_FRAMES >= codes.shape[1]) for a in starts]
    return np.concatenate(pieces)


def _row(codes: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(codes)).unsqueeze(0).to(device)


def _samples(sound: Tensor) -> np.ndarray:
    return np.ascontiguousarray(sound.clamp(-1.0, 1.0).float().cpu().numpy(), dtype=np.float32)
