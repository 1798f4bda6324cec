"""What is evaluated: utterances of a manifest and items of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

__all__ = ["CODEC_ROLES", "DEFAULT_ROLES", "ITEM_ROLES", "ORIGINS", "GenerationRecord", "Utterance"]

CODEC_ROLES = ("codec", "codec-8", "codec-4")
"""The recording through the codec: at all levels that the system uses, and at the first 8 and 4 of them."""

DEFAULT_ROLES = ("codec", "acoustic", "continuation", "unconditional")
"""What a system is asked for unless a run says otherwise."""

ITEM_ROLES = ("reference", *CODEC_ROLES, "acoustic", "continuation", "unconditional", "recorded", "shuffled")
"""Roles of an item (design, section 5). ``reference`` is the ceiling, ``shuffled`` the floor."""

ORIGINS = ("human", "synthetic", "unknown")
"""Where a prompt's speech comes from; decides whether it may serve as bona fide speech."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One row of a manifest.

    ``audio_path`` is absolute. ``transcript`` is as spoken, or None. ``groups`` are audit axes such as
    gender or accent; unknown stays absent. ``origin`` is one of ``ORIGINS``. ``problem`` is empty, or one
    sentence saying why the row cannot be used: such a row stays in every table of the run.
    """

    utterance_id: str
    audio_path: Path
    duration_s: float | None = None
    transcript: str | None = None
    speaker_id: str = ""
    split: str = ""
    groups: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    origin: str = "unknown"
    licence: str = ""
    row: int | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRecord:
    """One row of ``generations.parquet``: a clip that exists, or the reason why it does not.

    ``audio_path`` is relative to the run folder, empty where there is no clip. ``prompt_s`` is the length
    of the prompt that the item continues (the clip itself starts after it); for ``reference`` and ``codec``
    the clip holds the whole recording and ``prompt_s`` says where its prompt ends. ``content_sha256`` is the
    digest of the audio file. ``note`` says what a reader of an ``ok`` row must know, such as a recording cut short.
    """

    item_id: str
    utterance_id: str
    speaker_id: str
    system: str
    role: str
    seed: int
    audio_path: str
    sample_rate_hz: int
    duration_s: float
    prompt_s: float
    transcript: str | None
    groups: Mapping[str, str]
    origin: str
    wall_s: float
    status: str
    reason: str
    content_sha256: str
    config_sha256: str
    note: str = ""
