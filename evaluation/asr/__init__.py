"""Speech recognisers behind one protocol: a clip in, the words it heard out.

``AUDIOLM_ASR`` chooses: ``pocketsphinx`` (default, its English model comes with its wheel),
``pocketsphinx:librispeech`` (the same with a language model of read books that comes with this package),
``whisper:<size>`` or ``wav2vec2:<bundle>`` with weights that are already on the machine. Their error rates cannot be
compared.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from audiolm.audio import AudioClip

__all__ = ["Recogniser", "find_recogniser", "transcribe"]

Transcriber = Callable[[Sequence[AudioClip]], list[str]]
"""Clips at 16 kHz in, one lower-case or cased text per clip out, empty where nothing was heard. Each clip is judged
alone: its text depends neither on its neighbours nor on their order."""


class Recogniser(Protocol):
    """A speech recogniser that may or may not be usable here."""

    name: str

    def load(self, device: str) -> Transcriber: ...

    def status(self) -> tuple[str, str]: ...

    def fingerprint(self) -> Mapping[str, str]: ...


def find_recogniser(name: str | None = None) -> Recogniser:
    """The recogniser called ``name``, or the one that ``AUDIOLM_ASR`` names, or ``pocketsphinx``.

    Raises:
        ValueError: no such recogniser.
    """
    wanted = name or os.environ.get("AUDIOLM_ASR") or "pocketsphinx"
    family, colon, size = wanted.partition(":")
    if family == "pocketsphinx" and bool(colon) == bool(size):
        from evaluation.asr.pocketsphinx import PocketSphinx

        return PocketSphinx(size)
    if family == "whisper" and size:
        from evaluation.asr.whisper import Whisper

        return Whisper(size)
    if family == "wav2vec2" and size:
        from evaluation.asr.wav2vec2 import Wav2Vec2

        return Wav2Vec2(size)
    raise ValueError(
        f"AUDIOLM_ASR: no recogniser {wanted!r}; use pocketsphinx, pocketsphinx:librispeech, whisper:<size>,"
        " e.g. whisper:base.en, or wav2vec2:<bundle>, e.g. wav2vec2:base-960h"
    )


def transcribe(clips: Sequence[AudioClip], *, recogniser: str | None = None, device: str = "cpu") -> list[str]:
    """What the chosen recogniser hears in each clip (any rate), in order."""
    return find_recogniser(recogniser).load(device)([clip.at_rate(16_000) for clip in clips])
