"""Every item of the run with status, reason and scores: nothing disappears."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.artefacts import MeasureInfo
from reports.blocks import Cell, Column, Prose, Table
from reports.context import Context
from reports.formats import MISSING
from reports.frames import rows_where
from reports.sections import Section
from reports.tables import count, number, unit_of

MAX_ROWS = 5000
STATUS_ORDER = ("failed", "skipped", "ok")


def build(context: Context) -> Sequence[object]:
    items = context.run.generations
    order = items.assign(rank=items["status"].map(STATUS_ORDER.index)).sort_values(["rank", "item_id"], kind="stable")
    values, columns = _values(context)
    problems = _problems(context.run.scores)
    rows = [_row(item, values, columns, problems) for item in order.head(MAX_ROWS).to_dict("records")]
    heads = [Column("Item", "id"), Column("Role"), Column("Speaker"), Column("Status"), Column("Reason"),
             Column("Seconds", "number"), *(Column(label, "number") for label, _, _ in columns)]  # fmt: skip
    cut = f"{len(items) - MAX_ROWS:,} more items stand in generations.parquet; those not ok come first here."
    table = Table(
        caption="All items", columns=heads, rows=rows, note=cut if len(items) > MAX_ROWS else "", searchable=True
    )
    return [*_reasons(context), table]


def _values(context: Context) -> tuple[dict[tuple[str, str], float], list[tuple[str, str, str]]]:
    """Scores by ``(item, scorer/measure)`` and the columns as ``(label, key, unit)``; parts of ratios are left out."""
    scores = context.run.scores
    scores = rows_where(scores, scores["status"] == "ok")
    values: dict[tuple[str, str], float] = {}
    columns = []
    for measure in context.run.measures:
        key = f"{measure.scorer}/{measure.measure}"
        own = rows_where(scores, scores["scorer"] == measure.scorer)
        if measure.aggregate == "none":
            continue
        found = _ratio(own, measure) if measure.aggregate == "ratio_of_sums" else own[own["measure"] == measure.measure]
        if len(found):
            values.update({(item, key): value for item, value in zip(found["item_id"], found["value"], strict=True)})
            columns.append((measure.label, key, unit_of(measure)))
    return values, columns


def _ratio(own: pd.DataFrame, measure: MeasureInfo) -> pd.DataFrame:
    top = own[own["measure"] == measure.numerator].set_index("item_id")["value"]
    bottom = own[own["measure"] == measure.denominator].set_index("item_id")["value"]
    value = (top / bottom.where(bottom > 0)).dropna()
    return pd.DataFrame({"item_id": value.index, "value": value.to_numpy()})


def _problems(scores: pd.DataFrame) -> dict[str, str]:
    """Per item: every scorer that failed or skipped it, with the reason."""
    bad = rows_where(scores, scores["status"] != "ok").drop_duplicates(["item_id", "scorer", "status", "reason"])
    text = bad["scorer"] + " " + bad["status"] + ": " + bad["reason"]
    return text.groupby(bad["item_id"]).agg("; ".join).to_dict() if len(bad) else {}


def _row(
    item: dict, values: dict[tuple[str, str], float], columns: list[tuple[str, str, str]], problems: dict[str, str]
) -> list[Cell]:
    reason = "; ".join(part for part in (item["reason"], problems.get(item["item_id"], "")) if part)
    scores = [
        number(values[(item["item_id"], key)], unit) if (item["item_id"], key) in values else Cell(MISSING, "number")
        for _, key, unit in columns
    ]
    return [
        Cell(item["item_id"], "id"),
        Cell(item["role"]),
        Cell(item["speaker_id"], "foreign"),
        Cell(item["status"], "status", str(STATUS_ORDER.index(item["status"]))),
        Cell(reason, "foreign"),
        number(item["duration_s"]) if item["status"] == "ok" else Cell(MISSING, "number"),
        *scores,
    ]


def _reasons(context: Context) -> list[object]:
    """Why items or scores are missing, counted."""
    items, scores = context.run.generations, context.run.scores
    lost = items[items["status"] != "ok"].assign(scorer="making the clip")
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
    return [Table(caption="Skipped and failed", columns=columns, rows=rows)]


SECTION = Section(section_id="items", title="Items", part="record", order=7, build=build)
