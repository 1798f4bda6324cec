"""What this installation can do: every scorer, detector and back end with its state and, where needed, the remedy."""

from __future__ import annotations

from collections.abc import Callable

from evaluation.asr import find_recogniser
from evaluation.discovery import discover_corpus_metrics
from evaluation.scorers import available_scorers
from evaluation.speaker import ENCODERS, find_encoder

__all__ = ["RECOGNISERS", "STATES", "diagnose"]

STATES = ("ready", "degraded", "missing")
RECOGNISERS = ("pocketsphinx", "whisper:base.en", "wav2vec2:base-960h")
"""Recognisers that are looked at beside the chosen one; other sizes and bundles are asked for by name."""


def diagnose() -> list[dict[str, str]]:
    """One line per scorer, detector and back end: ``name``, ``state``, ``sentence``, ``extra``; nothing is downloaded.

    ``extra`` names the install extra that brings what is missing, or is empty. A plug-in whose own check raises is
    ``missing``, with its error as the sentence: a broken installation is what this is for.
    """
    scorers = {**available_scorers(), **discover_corpus_metrics()}
    lines = [_line(name, metric.status, extra=metric.spec.extra) for name, metric in sorted(scorers.items())]
    lines += [_line(f"recogniser {name}", lambda name=name: find_recogniser(name).status()) for name in RECOGNISERS]
    lines += [_line(f"speaker encoder {name}", lambda name=name: find_encoder(name).status()) for name in ENCODERS]
    return lines


def _line(name: str, check: Callable[[], tuple[str, str]], *, extra: str = "") -> dict[str, str]:
    try:
        state, sentence = check()
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        state, sentence = "missing", f"{type(error).__name__}: {error}"
    return {"name": name, "state": state, "sentence": sentence, "extra": extra}
