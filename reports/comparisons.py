"""The run's family of tests, as ``comparisons.json`` keeps it, and what missing items could do to a number.

Rows of the file: ``kind`` (``stage``, ``floor``, ``group``), ``scorer``, ``measure``, ``role``, ``against``, ``axis``,
``group``, the two values, ``difference`` with bounds, ``p`` and its adjusted forms; null where there is none.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from reports.artefacts import MeasureInfo, Run
from reports.blocks import Cell, Column, Table
from reports.context import ROLE_TITLES, Context
from reports.estimates import Estimate
from reports.formats import MISSING, clean, number_text
from reports.tables import count, number, unit_of

__all__ = ["Comparison", "family_table", "read_comparisons", "worst_case", "worst_case_table"]

NAME = "comparisons.json"
ALPHA = 0.05
NUMBERS = ("value", "against_value", "difference", "low", "high", "p", "p_holm", "p_bh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One paired difference with its test; NaN where a number is missing."""

    kind: str
    scorer: str
    measure: str
    role: str
    against: str
    axis: str
    group: str
    value: float
    against_value: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    p_bh: float
    n_items: int
    n_speakers: int

    @property
    def verdict(self) -> str:
        if not math.isfinite(self.p):
            return "no test: fewer than two speakers"
        if self.p_holm <= ALPHA:
            return "differs"
        return "differs by itself, not among so many tests" if self.p <= ALPHA else "within noise"


def read_comparisons(run: Run) -> tuple[Comparison, ...]:
    """The rows; none where the run was scored before they were kept.

    Raises:
        ValueError: the file is no list of such rows.
    """
    path = run.folder / NAME
    if not path.is_file():
        return ()
    names = [one.name for one in fields(Comparison)]
    try:
        rows: Any = json.loads(path.read_text(encoding="utf-8"))
        return tuple(Comparison(**{name: _value(row[name], name) for name in names}) for row in rows)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{path}: is no table of comparisons ({error}); score the run again") from error


def _value(value: Any, name: str) -> Any:
    if name in NUMBERS:
        return math.nan if value is None else float(value)
    return int(value) if name.startswith("n_") else str(value)


def family_table(context: Context, rows: Sequence[Comparison], caption: str, *, folded: bool = False) -> Table:
    """Every test with its p-value as it is and adjusted over the family."""
    measures = {measure.key: measure for measure in context.run.measures}
    lines = []
    for row in rows:
        info = measures.get((row.scorer, row.measure))
        unit = unit_of(info) if info else ""
        low, high = (number_text(bound, unit) for bound in (row.low, row.high))
        lines.append([
            Cell(f"{info.label if info else row.measure} ({row.scorer})"),
            Cell(_what(row), "foreign"),
            number(row.difference, unit),
            Cell(f"{low} to {high}" if math.isfinite(row.low) else MISSING, "number"),
            *(number(p) for p in (row.p, row.p_holm, row.p_bh)),
            count(row.n_speakers),
            Cell(row.verdict),
        ])  # fmt: skip
    names = ("Difference", "95 % interval", "p", "p, Holm", "p, Benjamini-Hochberg", "Speakers")
    columns = [Column("Measure"), Column("Compared"), *(Column(name, "number") for name in names), Column("Reads")]
    tested = sum(math.isfinite(row.p) for row in rows)
    note = (
        f"{tested:,} tests, adjusted together with all others of this run. Holm: the chance of any false alarm stays"
        " below 5 %. Benjamini-Hochberg: at most 5 % of the alarms are false, on average."
    )
    return Table(caption=caption, columns=columns, rows=lines, note=note, folded=folded, searchable=folded)


def _what(row: Comparison) -> str:
    if row.kind == "group":
        return clean(f"{row.axis} {row.group} against {row.against}, {ROLE_TITLES.get(row.role, row.role)}")
    return f"{ROLE_TITLES.get(row.role, row.role)} against {ROLE_TITLES.get(row.against, row.against)}"


def worst_case(measure: MeasureInfo, estimate: Estimate) -> float:
    """The estimate if every item without a value had failed; NaN for a measure without a worst value.

    A missing item takes the worst end of the measure's range; of a ratio of errors, an item of mean length with every
    token wrong.
    """
    missing, have = estimate.n_skipped + estimate.n_failed, estimate.n_items
    if measure.aggregate == "ratio_of_sums" and measure.direction in ("lower", "higher"):
        worst: float | None = 1.0 if measure.direction == "lower" else 0.0
    else:
        worst = {"higher": measure.low, "lower": measure.high}.get(measure.direction)
    if worst is None or have + missing == 0 or not (estimate.known or have == 0):
        return math.nan
    total = estimate.estimate * have if have else 0.0
    return (total + worst * missing) / (have + missing)


def worst_case_table(context: Context, measures: Sequence[MeasureInfo]) -> Table | None:
    """Numbers that missing items could move; None where nothing is missing."""
    rows = []
    for measure in measures:
        for role in context.roles:
            estimate = context.estimate(measure, role)
            if estimate is None or estimate.n_skipped + estimate.n_failed == 0:
                continue
            unit = unit_of(measure)
            rows.append([
                Cell(measure.label), Cell(ROLE_TITLES.get(role, role)), number(estimate.estimate, unit),
                count(estimate.n_items), count(estimate.n_skipped), count(estimate.n_failed),
                number(worst_case(measure, estimate), unit),
            ])  # fmt: skip
    if not rows:
        return None
    names = ("Estimate", "Items", "Skipped", "Failed", "If all missing failed")
    return Table(
        caption="If every missing item counted as failed", rows=rows,
        columns=[Column("Measure"), Column("Role"), *(Column(name, "number") for name in names)],
        note="A crash or a refusal must not improve a number: missing items take the worst value of the measure's"
        " range, of word errors a clip of mean length with every word wrong. A dash: the measure has no worst value.",
    )  # fmt: skip
