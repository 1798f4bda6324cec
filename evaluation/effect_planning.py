"""How many speakers show a given difference of a measure: spreads from a pilot run, or those that were measured here.

The shipped spreads (``planning_spreads.json``) are of the difference between two roles of one system on the same
prompts, which is what a comparison of two systems looks like; a pilot of one's own is always nearer to the truth.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.frames import read_scores
from evaluation.item_values import find_measure, item_values
from evaluation.run_folder import RunFolder
from evaluation.sample_size import Spread, power_factor, speakers_needed, spread_of
from evaluation.table_queries import kept_rows, numbers, rows_where

__all__ = ["EffectPlan", "measured_spread", "plan_effect", "shipped_spreads"]

SHARES = ("share", "ratio")
"""Units whose effects are given in points of a hundred."""
PAIRS = (("continuation", "shuffled"), ("acoustic", "reference"), ("codec", "reference"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectPlan:
    """``speakers``: needed with ``utterances`` each to find ``effect`` (in ``unit``) with 80 % power at 5 %."""

    measure: str
    unit: str
    effect: float
    utterances: int
    speakers: int
    smallest_effect: float
    between_sd: float
    within_sd: float
    source: str


def plan_effect(name: str, effect: float, *, utterances: int = 10, pilot: str | Path | None = None) -> EffectPlan:
    """The plan for ``scorer/measure`` or ``measure``; ``effect`` in points for shares and ratios, else in its unit.

    Raises:
        ValueError: no spread is known for the measure, or the effect is out of reach.
    """
    found = measured_spread(pilot, name) if pilot else _shipped(name)
    spread = Spread(found["between"], found["within"])
    scale = 0.01 if found["unit"] in SHARES else 1.0
    speakers = speakers_needed(spread, effect * scale, utterances)
    reach = power_factor(speakers) * spread.of_speaker_mean(utterances) / speakers**0.5
    return EffectPlan(
        measure=found["measure"], unit="points" if scale != 1.0 else found["unit"], effect=effect,
        utterances=utterances, speakers=speakers, smallest_effect=reach / scale, between_sd=spread.between / scale,
        within_sd=spread.within / scale, source=found["source"],
    )  # fmt: skip


@lru_cache(maxsize=1)
def shipped_spreads() -> list[dict[str, Any]]:
    """Rows ``{measure, unit, between, within, source}``."""
    return json.loads((resources.files("evaluation") / "planning_spreads.json").read_text(encoding="utf-8"))


def measured_spread(run: str | Path, name: str) -> dict[str, Any]:
    """Spread of the difference between the first two roles of a run that both have the measure.

    Raises:
        ValueError: no such measure, no two roles with it, or fewer than two speakers.
    """
    folder = RunFolder(run)
    folder.require()
    entry = find_measure(json.loads(folder.measures.read_text(encoding="utf-8")), name)
    scores = read_scores(folder.scores)
    for role, against in PAIRS:
        both = item_values(scores, entry, role).merge(
            item_values(scores, entry, against), on=["utterance_id", "speaker_id"], suffixes=("", "_b")
        )
        both = rows_where(both, status="ok", status_b="ok")
        both = kept_rows(both, (both["below"] > 0) & (both["below_b"] > 0))
        if len(set(both["speaker_id"])) < 2:
            continue
        values = numbers(both, "above") / numbers(both, "below") - numbers(both, "above_b") / numbers(both, "below_b")
        spread = spread_of(values, numbers(both, "below"), np.asarray(both["speaker_id"]))
        if spread.between == spread.within == 0.0:
            raise ValueError(f"{run}: all clips agree on {name}, which shows no spread; name a pilot with more clips")
        n_speakers = len(set(both["speaker_id"]))
        source = f"{role} minus {against}, {len(both)} prompts of {n_speakers} speakers, {folder.path}"
        return {"measure": f"{entry['scorer']}/{entry['measure']}", "unit": entry["unit"], "between": spread.between,
                "within": spread.within, "source": source}  # fmt: skip
    raise ValueError(f"{run}: {name} has no two roles on the same prompts of two speakers; name another pilot")


def _shipped(name: str) -> dict[str, Any]:
    rows = [row for row in shipped_spreads() if name in (row["measure"], row["measure"].partition("/")[2])]
    if len(rows) == 1:
        return rows[0]
    known = ", ".join(row["measure"] for row in shipped_spreads())
    raise ValueError(f"no spread of {name!r} is known; name a finished run with --pilot, or one of {known}")
