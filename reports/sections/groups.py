"""Every measure by every group: the whole table behind the chapter on discrimination."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Cell, Column, Prose, Table
from reports.context import Context
from reports.estimates import from_summary
from reports.frames import rows_where
from reports.sections import Section
from reports.tables import estimate_cells, unit_of

MAX_ROWS = 2000


def build(context: Context) -> Sequence[object]:
    summary = context.run.summary
    measures = {measure.key: measure for measure in context.run.measures}
    grouped = rows_where(summary, (summary["group_by"] != "all") & summary["estimate"].notna())
    grouped = grouped.sort_values(["group_by", "scorer", "measure", "role", "group", "system"], kind="stable")
    rows = []
    for _, row in grouped.head(MAX_ROWS).iterrows():
        info = measures.get((row["scorer"], row["measure"]))
        unit = unit_of(info) if info else ""
        label = info.label if info else row["measure"]
        rows.append(
            [
                Cell(f"{row['group_by']}: {row['group']}", "foreign"),
                Cell(row["role"]),
                Cell(f"{label} ({row['scorer']})"),
                *estimate_cells(from_summary(row), unit),
            ]
        )
    columns = [Column("Group"), Column("Role"), Column("Measure")]
    columns += [
        Column(name, "number") for name in ("Estimate", "95 % interval", "Items", "Speakers", "Skipped", "Failed")
    ]
    note = f"{len(grouped) - MAX_ROWS:,} more rows stand in summary.parquet." if len(grouped) > MAX_ROWS else ""
    return [
        Prose(
            "Many comparisons make some gaps large by chance; intervals here are not corrected for their number.",
            "small",
        ),
        Table(caption="Measures by group", columns=columns, rows=rows, note=note, searchable=True),
    ]


def _no_groups(context: Context) -> str:
    summary = context.run.summary
    if len(summary[(summary["group_by"] != "all") & summary["estimate"].notna()]):
        return ""
    return "the manifest brings no group column such as gender or accent"


SECTION = Section(
    section_id="groups", title="Groups of speakers", part="record", order=0, build=build, condition=_no_groups
)
