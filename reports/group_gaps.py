"""Gaps between groups of speakers: excess over the recordings, and alarms on recordings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from reports.blocks import Cell, Column, Table
from reports.context import Context
from reports.estimates import Estimate, contrast, group_contrast, minimum_detectable, paired, ratio
from reports.figures import PlotRow
from reports.frames import rows_where
from reports.operating import flagged_frame
from reports.tables import estimate_cells, number

__all__ = ["GroupPart", "alarm_parts", "excess_parts", "gap", "pairs_for", "part_rows", "parts_table", "voice_parts"]

FEW_SPEAKERS = 5
"""Below this a group's line is marked: single voices, not the group, decide it (reference evaluation.md 2.12)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPart:
    """One group: its contrast, the two sides of it, and the item pairs behind it."""

    group: str
    measure: str
    estimate: Estimate
    generated: float
    reference: float
    pairs: pd.DataFrame


def pairs_for(context: Context) -> pd.DataFrame | None:
    """Generated and reference word errors of the same utterances; a zero reference where the run has no recording."""
    lead = context.lead_measure("word_error")
    role = next((role for role in ("acoustic", "recorded") if context.has_role(role)), "")
    if lead is None or not role:
        return None
    generated = context.items(lead, role)
    if context.has_role("reference"):
        return paired(generated, context.items(lead, "reference"))
    return paired(generated, generated.assign(numerator=0.0))


def excess_parts(context: Context, axis: str) -> list[GroupPart]:
    """Word error rate generated minus reference, per group."""
    lead, pairs = context.lead_measure("word_error"), pairs_for(context)
    if lead is None or pairs is None:
        return []
    return _parts(context, axis, pairs, f"{lead.scorer}/{lead.measure}", contrast)


def alarm_parts(context: Context, axis: str) -> list[GroupPart]:
    """Share of recordings that the detector calls synthetic, per group."""
    measure = context.lead_measure("llr")
    frame = flagged_frame(context, measure, "reference") if measure else None
    if measure is None or frame is None or not len(frame):
        return []
    pairs = paired(frame, frame.assign(numerator=0.0))
    return _parts(context, axis, pairs, f"{measure.scorer}/{measure.measure}", lambda part: ratio(_left(part)))


def voice_parts(context: Context, axis: str) -> list[GroupPart]:
    """Likeness of the voice, continuation minus another speaker's continuation, per group."""
    lead = context.lead_measure("similarity")
    if lead is None:
        return []
    pairs = paired(context.items(lead, "continuation"), context.items(lead, "shuffled"))
    return _parts(context, axis, pairs, f"{lead.scorer}/{lead.measure}", contrast) if len(pairs) else []


def _left(pairs: pd.DataFrame) -> pd.DataFrame:
    return pairs.rename(columns={"numerator_a": "numerator", "denominator_a": "denominator"})


def _rate(pairs: pd.DataFrame, side: str) -> float:
    bottom = float(pairs[f"denominator_{side}"].sum())
    return float(pairs[f"numerator_{side}"].sum()) / bottom if bottom > 0 else float("nan")


def _parts(
    context: Context, axis: str, pairs: pd.DataFrame, measure: str, estimate: Callable[[pd.DataFrame], Estimate]
) -> list[GroupPart]:
    parts = []
    for group in context.groups_of(axis):
        part = rows_where(pairs, pairs["utterance_id"].isin(context.items_in_group(axis, group)))
        found = estimate(part) if len(part) else None
        if found is not None and found.known:
            parts.append(
                GroupPart(
                    group=group,
                    measure=measure,
                    estimate=found,
                    generated=_rate(part, "a"),
                    reference=_rate(part, "b"),
                    pairs=part,
                )
            )
    return parts


def gap(parts: Sequence[GroupPart]) -> tuple[str, str, Estimate] | None:
    """Worst and best group and their difference; groups of two or more speakers go first where there are two such."""
    steady = [part for part in parts if part.estimate.n_speakers >= 2]
    ordered = sorted(steady if len(steady) >= 2 else parts, key=lambda part: (part.estimate.estimate, part.group))
    if len(ordered) < 2:
        return None
    return ordered[-1].group, ordered[0].group, group_contrast(ordered[-1].pairs, ordered[0].pairs)


def part_rows(parts: Sequence[GroupPart]) -> list[PlotRow]:
    return [PlotRow(part.group, part.estimate) for part in parts]


def parts_table(parts: Sequence[GroupPart], caption: str, axis: str) -> Table:
    """One row per group with both sides of the contrast."""
    rows = []
    for part in parts:
        few = "few speakers" if part.estimate.n_speakers < FEW_SPEAKERS else ""
        sides = [number(part.generated, "share"), number(part.reference, "share")]
        cells = estimate_cells(part.estimate, "share")[:4]
        effect = number(minimum_detectable(part.estimate), "share")
        rows.append([Cell(part.group, "foreign"), *sides, *cells, effect, Cell(few)])
    columns = [
        Column(axis), Column("Measured", "number"), Column("Ceiling: recordings", "number"), Column("Excess", "number"),
        Column("95 % interval", "number"), Column("Items", "number"), Column("Speakers", "number"),
        Column("Smallest effect seen", "number"), Column("Remark"),
    ]  # fmt: skip
    note = (
        "Excess is measured minus ceiling on the same utterances, which removes the recogniser's own bias. The smallest"
        " effect seen is that of the group alone; the gap's own stands in the table of indicators."
    )
    return Table(caption=caption, columns=columns, rows=rows, note=note)
