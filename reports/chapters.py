"""What the five risk chapters share: the verdict from findings, and items chosen as evidence."""

from __future__ import annotations

import pandas as pd

from reports.artefacts import MeasureInfo
from reports.blocks import Clips, NotMeasured, Verdict
from reports.context import Context
from reports.findings import not_excluded, rank, worst
from reports.formats import number_text
from reports.tables import unit_of

__all__ = ["evidence", "item_values", "open_points", "verdict", "worst_not_excluded"]

VERDICT_SENTENCES = 3


def verdict(context: Context, section_id: str) -> Verdict:
    """The gravest findings of a chapter, gravest first; ``unknown`` where nothing could be measured."""
    findings = context.findings_of(section_id)
    if not findings:
        return Verdict("unknown", ["Not assessed: no indicator of this chapter has a value in this run."])
    ordered = sorted(findings, key=lambda finding: -rank(finding.severity))
    sentences = [f"{finding.statement} [{finding.finding_id}]" for finding in ordered[:VERDICT_SENTENCES]]
    if len(ordered) > VERDICT_SENTENCES:
        sentences.append(f"{len(ordered) - VERDICT_SENTENCES} more stand in the findings register.")
    return Verdict(worst(findings), sentences)


def worst_not_excluded(context: Context, section_id: str) -> str:
    """The gravest severity that an interval of the chapter still reaches; ``unknown`` where none has an interval."""
    rules = context.policy.rules
    found = [not_excluded(one, rules.get(one.finding_id.partition("/")[0])) for one in context.findings_of(section_id)]
    return max(found, key=rank, default="unknown")


def item_values(context: Context, measure: MeasureInfo, role: str) -> pd.DataFrame:
    """Items of a role with their value of a measure (a ratio is formed per item), sorted by item id."""
    frame = context.items(measure, role)
    frame = frame[frame["denominator"] > 0]
    return frame.assign(value=frame["numerator"] / frame["denominator"]).sort_values("item_id").reset_index(drop=True)


def evidence(
    context: Context, title: str, frame: pd.DataFrame, measure: MeasureInfo | None, *, limit: int, note: str = ""
) -> list[Clips]:
    """Players for the first items of an already ordered frame, each with its value of the measure."""
    rows = frame.head(limit)
    facts: dict[str, list[str]] = {}
    if measure is not None and "value" in rows:
        for item_id, value in zip(rows["item_id"], rows["value"], strict=True):
            facts[item_id] = [f"{measure.label}: {number_text(value, unit_of(measure))}"]
    clips = context.desk.clips(list(rows["item_id"]), facts)
    return [Clips(title=title, clips=clips, note=note)] if clips else []


def open_points(*points: str) -> list[NotMeasured]:
    """What was not measured; empty strings are left out."""
    kept = [point for point in points if point]
    return [NotMeasured(kept)] if kept else []
