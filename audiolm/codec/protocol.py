"""What the language models ask of an acoustic tokenizer, so that another codec can stand in for SoundStream.

A stand-in is one class with these members. To be saved and loaded with a model, it lives in
``audiolm/codec/foreign.py``, stores its part under the name ``FOREIGN_PART`` and is read back by that file's
``load_foreign(folder)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from audiolm import checkpoint

__all__ = ["FOREIGN_PART", "AcousticTokenizer", "load_acoustic"]

FOREIGN_PART = "codec_foreign"


@runtime_checkable
class AcousticTokenizer(Protocol):
    """Waveform to codes and back. Both directions are deterministic, need no gradient and keep the device."""

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the waveforms of both directions."""
        ...

    @property
    def hop(self) -> int:
        """Samples per frame of codes."""
        ...

    @property
    def frame_rate_hz(self) -> float:
        """Frames of codes per second: ``sample_rate_hz / hop``."""
        ...

    @property
    def n_levels(self) -> int:
        """Residual levels of a frame, the coarsest first."""
        ...

    @property
    def codebook_size(self) -> int:
        """Codes per level."""
        ...

    def encode(self, samples: Tensor, n_levels: int | None = None) -> Tensor:
        """Float32 ``[batch, time]`` within +-1 to int64 codes ``[batch, level, ceil(time / hop)]``.

        The last frame is filled up with silence; codes lie in ``[0, codebook_size)``; ``n_levels`` None gives all.
        """
        ...

    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[batch, level, frame]`` of the first ``level`` levels, any number, to ``[batch, frame * hop]``."""
        ...

    def to(self, device: Any) -> AcousticTokenizer:
        """Itself, on ``device``."""
        ...

    def save(self, folder: str | Path, record: Mapping[str, Any]) -> None:
        """Write what :func:`load_acoustic` reads."""
        ...


def load_acoustic(folder: str | Path) -> AcousticTokenizer:
    """The acoustic tokenizer a part folder holds: ours, or the settings of a foreign codec.

    Raises:
        CheckpointError: not ours, truncated, changed or of another shape.
        ValueError: a foreign codec whose library or weights are missing.
    """
    if checkpoint.stored_part(folder) == FOREIGN_PART:
        from audiolm.codec import foreign

        return foreign.load_foreign(folder)
    from audiolm.codec.soundstream import SoundStream

    return SoundStream.load(folder)
