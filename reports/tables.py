"""Tables that several sections share: estimates by role, curves, skipped items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reports.artefacts import MeasureInfo
from reports.blocks import Cell, Column, Table
from reports.context import ROLE_TITLES, Context
from reports.estimates import Estimate
from reports.figures import PlotRow
from reports.formats import MISSING, interval_text, number_text

__all__ = ["count", "estimate_cells", "estimate_columns", "number", "plot_rows", "role_table", "unit_of"]

LONG_TABLE = 16
"""Longer tables are folded: their chapter shows the leading rows elsewhere."""

KINDS = {"reference": "ceiling", "shuffled": "floor", "codec": "other"}


def unit_of(measure: MeasureInfo) -> str:
    """The unit to print: a ratio of two counts without a unit of its own is a share."""
    unit = measure.unit.strip()
    return "share" if not unit and measure.aggregate == "ratio_of_sums" else unit


def number(value: float, unit: str = "") -> Cell:
    """A numeric cell that sorts by its value."""
    return Cell(number_text(value, unit), "number", f"{value:.12g}" if value == value else "")


def estimate_columns(first: str, *others: str) -> list[Column]:
    """Columns of an estimate table: what the row is, more text columns, then the numbers."""
    names = ("Estimate", "95 % interval", "Items", "Speakers", "Skipped", "Failed")
    return [Column(first), *(Column(name) for name in others), *(Column(name, "number") for name in names)]


def estimate_cells(estimate: Estimate | None, unit: str) -> list[Cell]:
    """The numbers of one row; dashes where there is no estimate."""
    if estimate is None:
        return [Cell(MISSING, "number")] * 6
    return [
        number(estimate.estimate, unit),
        Cell(interval_text(estimate, unit), "number"),
        *map(count, (estimate.n_items, estimate.n_speakers, estimate.n_skipped, estimate.n_failed)),
    ]


def count(value: int) -> Cell:
    """A numeric cell for a count."""
    return Cell(f"{value:,}", "number", str(value))


def role_rows(context: Context, measure: MeasureInfo, roles: Iterable[str]) -> list[tuple[str, Estimate]]:
    """Roles that have an estimate of a measure, in the given order."""
    found = ((role, context.estimate(measure, role)) for role in roles)
    return [(role, estimate) for role, estimate in found if estimate is not None]


def role_table(context: Context, measures: Sequence[MeasureInfo], caption: str, note: str = "") -> Table:
    """Every role of every measure with a value, one row each."""
    several = len({measure.key for measure in measures}) > 1
    labels = [measure.label for measure in measures]
    rows = []
    for measure in measures:
        for role, estimate in role_rows(context, measure, context.roles):
            head = [Cell(ROLE_TITLES.get(role, role))]
            name = measure.label if labels.count(measure.label) == 1 else f"{measure.label} ({measure.scorer})"
            middle = [Cell(name)] if several else []
            rows.append([*head, *middle, *estimate_cells(estimate, unit_of(measure))])
    columns = estimate_columns("Role", "Measure") if several else estimate_columns("Role")
    return Table(caption=caption, columns=columns, rows=rows, note=note, folded=len(rows) > LONG_TABLE)


def plot_rows(context: Context, measure: MeasureInfo, roles: Iterable[str]) -> list[PlotRow]:
    """The same as dots and bars: reference is drawn as ceiling, shuffled as floor."""
    return [
        PlotRow(ROLE_TITLES.get(role, role), estimate, KINDS.get(role, "main"))
        for role, estimate in role_rows(context, measure, roles)
    ]
