"""Every measure by every group: the whole table behind the chapter on discrimination."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.blocks import Cell, Prose, Table
from reports.context import Context
from reports.estimates import from_summary
from reports.frames import rows_where
from reports.sections import Section
from reports.tables import estimate_cells, estimate_columns, unit_of

MAX_ROWS = 2000
LEADING = ("word_error", "similarity", "accepted", "flagged")
LEADING_ROLES = ("reference", "acoustic", "continuation", "recorded")


def build(context: Context) -> Sequence[object]:
    summary = context.run.summary
    grouped = rows_where(summary, (summary["group_by"] != "all") & summary["estimate"].notna())
    grouped = grouped.sort_values(["group_by", "scorer", "measure", "role", "group", "system"], kind="stable")
    leading = {measure.key for name in LEADING for measure in context.measures_for(name)}
    is_leading = [key in leading for key in zip(grouped["scorer"], grouped["measure"], strict=True)]
    first = rows_where(grouped, pd.Series(is_leading, index=grouped.index) & grouped["role"].isin(LEADING_ROLES))
    cut = f"{len(grouped) - MAX_ROWS:,} more rows stand in summary.parquet." if len(grouped) > MAX_ROWS else ""
    blocks: list[object] = [Prose(
        "Many comparisons make some gaps large by chance; intervals here are not corrected for their number. The tests"
        " of gaps in the statistics appendix are.", "small"
    )]  # fmt: skip
    if len(first):
        blocks.append(_table(context, first.head(MAX_ROWS), "Leading measures by group"))
    return [*blocks, _table(context, grouped.head(MAX_ROWS), "All measures by group", note=cut, folded=True)]


def _table(context: Context, grouped: pd.DataFrame, caption: str, note: str = "", folded: bool = False) -> Table:
    measures = {measure.key: measure for measure in context.run.measures}
    rows = []
    for _, row in grouped.iterrows():
        info = measures.get((str(row["scorer"]), str(row["measure"])))
        unit = unit_of(info) if info else ""
        rows.append(
            [
                Cell(f"{row['group_by']}: {row['group']}", "foreign"),
                Cell(str(row["role"])),
                Cell(f"{info.label if info else row['measure']} ({row['scorer']})"),
                *estimate_cells(from_summary(row, info), unit),
            ]
        )
    columns = estimate_columns("Group", "Role", "Measure")
    return Table(caption=caption, columns=columns, rows=rows, note=note, searchable=folded, folded=folded)


def _no_groups(context: Context) -> str:
    summary = context.run.summary
    if len(summary[(summary["group_by"] != "all") & summary["estimate"].notna()]):
        return ""
    return "the manifest brings no group column such as gender or accent"


SECTION = Section(
    section_id="groups", title="Groups of speakers", part="record", order=1, build=build, condition=_no_groups
)
