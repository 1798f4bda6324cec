"""Every item of the run with status, reason and scores: nothing disappears."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from reports.blocks import Browser, Cell, Column, Prose, Table
from reports.context import GENERATED_ROLES, Context
from reports.formats import MISSING
from reports.frames import rows_where
from reports.item_payload import ScoreColumn, item_payload, problems_of, score_columns
from reports.sections import Section
from reports.tables import count, number
from reports.transcripts import read_alignments

MOST_ITEMS = 100_000
STATIC_ITEMS = 200
"""Rows that stand in the page without a script."""
STATUS_ORDER = ("failed", "skipped", "ok")
LEADING = ("word_error", "similarity", "accepted", "llr", "flagged")


def build(context: Context) -> Sequence[object]:
    items = context.run.generations
    order = items.assign(rank=items["status"].map(STATUS_ORDER.index))
    order = order.sort_values(["rank", "item_id"], kind="stable").head(MOST_ITEMS).reset_index(drop=True)
    columns = score_columns(context, order)
    problems = problems_of(context.run.scores)
    reasons = [
        "; ".join(part for part in (own, problems.get(name, "")) if part)
        for own, name in zip(order["reason"], order["item_id"], strict=True)
    ]
    found = [context.lead_measure(name) for name in LEADING]
    leading = [measure.key for measure in found if measure is not None]
    alignments = read_alignments(context.run.folder)
    clips = _clips(context, order)
    payload = item_payload(context, order, columns, reasons, alignments, clips, leading)
    shown = [column for column in columns if column.measure.key in leading]
    return [*_reasons(context), Browser(payload=payload, total=len(order), table=_static(order, shown, reasons, items))]


def _clips(context: Context, order: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Clips inside the page: those that chapters play already, then generated ones as far as the budget goes."""
    made = rows_where(order, (order["status"] == "ok") & order["role"].isin(GENERATED_ROLES))
    made = made.assign(place=made["role"].map(GENERATED_ROLES.index)).sort_values(["place", "item_id"])
    context.desk.fill(list(made["item_id"]))
    return context.desk.embedded_uris()


def _static(order: pd.DataFrame, shown: Sequence[ScoreColumn], reasons: Sequence[str], items: pd.DataFrame) -> Table:
    rows = []
    for at, item in enumerate(order.head(STATIC_ITEMS).to_dict("records")):
        scores = [_score(column, at) for column in shown]
        rows.append(
            [
                Cell(str(item["item_id"]), "id"),
                Cell(str(item["role"])),
                Cell(str(item["speaker_id"]), "foreign"),
                Cell(str(item["status"]), "status", str(STATUS_ORDER.index(str(item["status"])))),
                Cell(reasons[at], "foreign"),
                number(float(item["duration_s"])) if item["status"] == "ok" else Cell(MISSING, "number"),
                *scores,
            ]
        )
    heads = [Column("Item", "id"), Column("Role"), Column("Speaker"), Column("Status"), Column("Reason"),
             Column("Seconds", "number"), *(Column(column.measure.label, "number") for column in shown)]  # fmt: skip
    listed = min(len(order), STATIC_ITEMS)
    caption = f"Items: {listed:,} of {len(items):,}"
    note = (
        "Those not ok come first. With a script the page lists every item, filters and sorts them and shows all scores;"
        " without one, the rest stands in generations.parquet and scores.parquet."
        if len(items) > listed
        else "Those not ok come first. Every score stands in scores.parquet."
    )
    return Table(caption=caption, columns=heads, rows=rows, note=note)


def _score(column: ScoreColumn, at: int) -> Cell:
    value = float(column.values[at])
    return number(value, column.unit) if np.isfinite(value) else Cell(MISSING, "number")


def _reasons(context: Context) -> list[object]:
    """Why items or scores are missing, counted."""
    items, scores = context.run.generations, context.run.scores
    lost = rows_where(items, items["status"] != "ok").assign(scorer="making the clip")
    bad = rows_where(scores, scores["status"] != "ok").drop_duplicates(["item_id", "scorer", "status", "reason"])
    both = pd.concat([frame[["scorer", "role", "status", "reason"]] for frame in (lost, bad)])
    if not len(both):
        return [Prose("Every item has a clip and every score that was tried.")]
    counts = both.groupby(["scorer", "status", "reason"], sort=True)["role"].agg(
        ["size", lambda r: ", ".join(sorted(set(r)))]
    )
    rows = [
        [Cell(scorer), Cell(status, "status"), Cell(reason, "foreign"), Cell(roles), count(int(size))]
        for (scorer, status, reason), (size, roles) in zip(counts.index, counts.to_numpy(), strict=True)
    ]
    columns = [Column("Step"), Column("Status"), Column("Reason"), Column("Roles"), Column("Items", "number")]
    return [Table(caption="Skipped and failed", columns=columns, rows=rows[:500])]


SECTION = Section(section_id="items", title="Items", part="record", order=7, build=build, closing=True)
