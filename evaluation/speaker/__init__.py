"""Speaker encoders behind one protocol: a clip in, a vector of unit length out.

``AUDIOLM_SPEAKER`` chooses: ``ge2e`` (default, its weights come with the package) or ``ecapa`` (SpeechBrain).
Cosines of different encoders live on different scales: never average or compare them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from audiolm.audio import AudioClip

__all__ = ["ENCODERS", "SpeakerEncoder", "SpeakerEncoderEntry", "embed_all", "find_encoder"]

ENCODERS = ("ge2e", "ecapa")


class SpeakerEncoder(Protocol):
    """A loaded encoder. ``embed`` judges one clip at a time, so no clip's vector depends on its neighbours."""

    def embed(self, clip: AudioClip) -> np.ndarray | None:
        """Unit-length float32 ``[dimension]`` of a 16 kHz clip, or None where it holds too little speech."""
        ...


class SpeakerEncoderEntry(Protocol):
    """What an encoder's file calls ``ENCODER``.

    ``threshold`` is the cosine at which false acceptances equal false rejections, and ``threshold_source`` the data
    that it was measured on.
    """

    name: str

    @property
    def threshold(self) -> float: ...

    @property
    def threshold_source(self) -> str: ...

    def log_ratio(self, cosine: float) -> float | None:
        """Log10 likelihood ratio of one speaker to two at this cosine; None for an encoder without calibration."""
        ...

    def load(self, device: str) -> SpeakerEncoder: ...

    def status(self) -> tuple[str, str]: ...

    def fingerprint(self) -> Mapping[str, str]: ...


def embed_all(encoder: SpeakerEncoder, clips: Sequence[AudioClip]) -> list[np.ndarray | None]:
    """A vector per clip, None where it holds too little speech; each clip object is embedded once.

    Encoders with an ``embed_many`` of their own get all clips at once; the vectors are those of ``embed``.
    """
    distinct = {id(clip): clip for clip in clips}
    many = getattr(encoder, "embed_many", None)
    vectors = many(list(distinct.values())) if many else [encoder.embed(clip) for clip in distinct.values()]
    known = dict(zip(distinct, vectors, strict=True))
    return [known[id(clip)] for clip in clips]


def find_encoder(name: str | None = None) -> SpeakerEncoderEntry:
    """The encoder called ``name``, or the one that ``AUDIOLM_SPEAKER`` names, or ``ge2e``.

    Raises:
        ValueError: no such encoder.
    """
    wanted = name or os.environ.get("AUDIOLM_SPEAKER") or "ge2e"
    if wanted == "ge2e":
        from evaluation.speaker.ge2e import ENCODER

        return ENCODER
    if wanted == "ecapa":
        from evaluation.speaker.ecapa import ENCODER as ecapa

        return ecapa
    raise ValueError(f"AUDIOLM_SPEAKER: there is no speaker encoder {wanted!r}; use one of {', '.join(ENCODERS)}")
