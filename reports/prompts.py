"""Which prompts a run used, in the words of the report's first lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.artefacts import Run
from reports.formats import clean

__all__ = ["origin_of", "prompt_lines"]

LINES = {
    "synthetic": "Made prompts: synthetic speech of flite/espeak-ng, no human recording.",
    "human": "Real recordings: the prompts are human speech.",
    "mixed": "Mixed prompts: some are human recordings, some are synthetic speech.",
    "unknown": "Prompts of unknown origin: the manifest does not say whether they are human recordings.",
}
CONSEQUENCES = {
    "synthetic": (
        "Every number below that is compared with a recording is compared with synthesised speech, and says little"
        " about human voices, accents or rooms."
    ),
    "human": "Ceilings below are measured on the same human recordings.",
    "mixed": "Numbers over all items average the two kinds; detection rates use the source named beside them.",
    "unknown": "Treat every ceiling below as unverified.",
}


def origin_of(run: Run) -> str:
    """``human``, ``synthetic``, ``mixed``, ``unknown``, or ``none`` where the run had no prompts at all."""
    roles = set(run.generations["role"])
    if roles and roles <= {"recorded"}:
        return "none"
    prompts = run.info.get("prompts")
    origin = str(prompts.get("origin", "")) if isinstance(prompts, Mapping) else ""
    return origin if origin in LINES else "unknown"


def prompt_lines(run: Run) -> tuple[str, str]:
    """The first two lines of the report: what the prompts were, and what follows from that."""
    origin = origin_of(run)
    prompts: Any = run.info.get("prompts")
    source = clean(prompts.get("source", "")) if isinstance(prompts, Mapping) else ""
    if origin == "none":
        first = "No prompts: files of an outside system, judged as they are."
        return (f"{first} Source: {source}." if source else first, "Measures that need a prompt are listed as not run.")
    return (f"{LINES[origin]} Source: {source}." if source else LINES[origin], CONSEQUENCES[origin])
