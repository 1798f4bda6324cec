"""Puts the oracles of every scorer to this installation, and marks what fails as not accredited."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import Any

from evaluation.discovery import discover
from evaluation.oracles import Oracle
from evaluation.run_folder import RunFolder, write_json

__all__ = ["NOT_ACCREDITED", "accredit", "find_oracles", "run_oracles"]

NOT_ACCREDITED = " (not accredited)"
SELFTESTS_NAME = "selftests.json"

logger = logging.getLogger(__name__)


def find_oracles(scorers: Collection[str] | None = None) -> list[Oracle]:
    """Oracles of the named scorers, or all, in order of scorer and as written."""
    import evaluation.oracles

    folders: Any = discover(evaluation.oracles, "ORACLES").values()
    found = [oracle for oracles in folders for oracle in oracles if scorers is None or oracle.scorer in scorers]
    return sorted(found, key=lambda oracle: oracle.scorer)


def run_oracles(scorers: Collection[str] | None = None) -> list[dict[str, Any]]:
    """One row per oracle, in the form that benchmarks print: ``value`` was measured, ``against`` was expected.

    An oracle that raises has no value and is not met.
    """
    return [_asked(oracle) for oracle in find_oracles(scorers)]


def accredit(run: RunFolder, scorers: Collection[str], rows: Sequence[dict[str, Any]] | None = None) -> list[str]:
    """Ask the oracles of a run's scorers, keep the answers in ``selftests.json``, mark measures in ``measures.json``.

    Gives the scorers that failed; their measures' titles say so in every table that shows them.
    """
    from evaluation.threads import one_thread

    with one_thread("cpu"):
        rows = _kept(tuple(sorted(scorers))) if rows is None else rows
    failed = sorted({str(row["scorer"]) for row in rows if row["met"] is False})
    for scorer in failed:
        logger.warning("%s is not accredited: an oracle failed here (audiolm-audit doctor --selftest)", scorer)
    entries = json.loads(run.measures.read_text(encoding="utf-8"))
    for entry in entries:
        entry["title"] = str(entry["title"]).removesuffix(NOT_ACCREDITED)
        if entry["scorer"] in failed:
            entry["title"] += NOT_ACCREDITED
    write_json(run.measures, entries)
    write_json(run.path / SELFTESTS_NAME, list(rows))
    return failed


@lru_cache(maxsize=8)
def _kept(scorers: tuple[str, ...]) -> list[dict[str, Any]]:
    """Answers of this process; an installation does not change while it runs."""
    return run_oracles(scorers)


def _asked(oracle: Oracle) -> dict[str, Any]:
    try:
        value = float(oracle.ask())
    except Exception as error:  # a broken library may fail in any way, which is what is looked for
        logger.warning("oracle %s, %s: %s: %s", oracle.scorer, oracle.name, type(error).__name__, error)
        value = math.nan
    met = math.isfinite(value) and abs(value - oracle.expected) <= oracle.tolerance
    return {
        "scorer": oracle.scorer,
        "name": f"{oracle.scorer}/{oracle.name}",
        "value": value if math.isfinite(value) else None,
        "unit": oracle.unit,
        "against": oracle.expected,
        "ratio": None,
        "target": f"within {oracle.tolerance:g}" if oracle.tolerance else "exact",
        "met": met,
    }
