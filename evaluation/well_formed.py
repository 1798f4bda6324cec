"""Text that every table takes: a file name that is no UTF-8, or half a character from JSON, is shown as an escape."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from evaluation.records import Utterance

__all__ = ["well_formed", "well_formed_utterance"]

FIELDS = ("utterance_id", "transcript", "speaker_id", "split", "licence", "problem")


def well_formed(text: str) -> str:
    """``text`` without lone surrogates, which no UTF-8 file can hold."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def well_formed_utterance(utterance: Utterance) -> Utterance:
    """The utterance with well-formed texts; the path keeps its bytes, so that the file is still found."""
    texts = {name: getattr(utterance, name) for name in FIELDS}
    groups = {well_formed(name): well_formed(value) for name, value in utterance.groups.items()}
    changed: dict[str, object] = {
        name: fixed for name, text in texts.items() if text is not None and (fixed := well_formed(text)) != text
    }
    if groups != dict(utterance.groups):
        changed["groups"] = MappingProxyType(groups)
    return replace(utterance, **changed) if changed else utterance  # type: ignore[arg-type]
