"""Where a run's utterances come from: a given source, an outside system's folder, or the shipped prompts."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

from evaluation.config import RunConfig
from evaluation.manifest import read_utterances
from evaluation.records import Utterance

__all__ = ["EMBEDDED", "embedded_manifest", "utterances_of"]

EMBEDDED = "embedded"
"""The name of the shipped prompts in ``RunConfig.prompts`` and in ``run.json``."""


def embedded_manifest() -> Path:
    """The manifest of the prompts that come with the package."""
    path = Path(str(resources.files("evaluation") / "prompts" / "manifest.csv"))
    if not path.is_file():
        raise ValueError(
            f"{path}: the shipped prompts are missing from this installation; name your own with --prompts"
        )
    return path


def utterances_of(config: RunConfig) -> list[Utterance]:
    """The run's utterances; an outside system's files are of unknown origin whatever they sound like."""
    if config.recorded:
        found = read_utterances(config.recorded, split=config.split, limit=config.limit)
        return [replace(utterance, origin="unknown") for utterance in found]
    source = embedded_manifest() if config.prompts == EMBEDDED else Path(config.prompts)
    return read_utterances(source, split=config.split, limit=config.limit)
