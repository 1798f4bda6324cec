"""The table of a released model: rows with value, interval, target and whether it is met; targets stand in TOML."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

import pandas as pd

from evaluation.bootstrap import Interval
from evaluation.table_queries import rows_where

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

__all__ = ["Finding", "RowPlan", "TableRow", "planned_rows", "table_rows"]

TARGETS = ("at_least", "at_most", "clear_above", "interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPlan:
    """One planned row: where its value comes from, and at most one target.

    ``exact``: a count that needs no interval; any other value without one (fewer than two speakers) meets no target and
    misses none.
    """

    name: str
    title: str
    role: str = ""
    scorer: str = ""
    measure: str = ""
    derived: str = ""
    at_least: float | None = None
    at_most: float | None = None
    clear_above: float | None = None
    interval: bool = False
    exact: bool = False

    @property
    def target(self) -> str | None:
        """The target in words, None where there is none."""
        if self.at_least is not None:
            return f">= {self.at_least:g}"
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        if self.clear_above is not None:
            return f"interval above {self.clear_above:g}"
        return "value with interval" if self.interval else None

    def met(self, value: Interval) -> bool | None:
        """Whether the target is reached; None without a target, a value, or the interval that a value needs."""
        if self.target is None or not math.isfinite(value.estimate):
            return None
        if not (self.exact or self.interval or math.isfinite(value.low)):
            return None
        if self.at_least is not None:
            return value.estimate >= self.at_least
        if self.at_most is not None:
            return value.estimate <= self.at_most
        return value.low > self.clear_above if self.clear_above is not None else math.isfinite(value.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A value that was worked out: with its unit, what it rests on, and what a reader must know."""

    interval: Interval
    unit: str
    n_items: int
    n_speakers: int
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One row as it is printed; ``value``, ``low`` and ``high`` are None where there is none, and ``note`` says why."""

    name: str
    title: str
    value: float | None
    low: float | None
    high: float | None
    unit: str
    n_items: int
    n_speakers: int
    target: str | None
    met: bool | None
    note: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@lru_cache(maxsize=1)
def planned_rows() -> tuple[RowPlan, ...]:
    """The rows of ``model_targets.toml``.

    Raises:
        ValueError: two rows of one name, a row without a source, or one with two targets.
    """
    text = (resources.files("evaluation") / "model_targets.toml").read_text(encoding="utf-8")
    plans = tuple(RowPlan(**row) for row in tomllib.loads(text)["row"])
    for plan in plans:
        if bool(plan.derived) == bool(plan.measure) or sum(bool(getattr(plan, name)) for name in TARGETS) > 1:
            raise ValueError(f"model_targets.toml: row {plan.name!r} needs one source and at most one target")
    if len({plan.name for plan in plans}) != len(plans):
        raise ValueError("model_targets.toml: two rows have one name; rename one of them")
    return plans


def table_rows(
    summary: pd.DataFrame,
    units: Mapping[tuple[str, str], str],
    derived: Mapping[str, Callable[[], Finding | str]],
) -> Iterator[TableRow]:
    """The rows in their order.

    ``units``: by scorer and measure. ``derived``: for each rule a function that gives a finding, or the reason why
    there is none; a rule that is not there was left out of this evaluation.
    """
    for plan in planned_rows():
        if plan.derived:
            rule = derived.get(plan.derived)
            found = rule() if rule is not None else "left out of this evaluation"
        else:
            found = _summarised(summary, units, plan)
        yield _row(plan, found)


def _summarised(summary: pd.DataFrame, units: Mapping[tuple[str, str], str], plan: RowPlan) -> Finding | str:
    rows = rows_where(summary, role=plan.role, scorer=plan.scorer, measure=plan.measure, group_by="all")
    if not len(rows):
        return f"no {plan.measure} of {plan.role or 'any role'} by {plan.scorer} in this run"
    row = rows.iloc[0]
    missing = int(row["n_skipped"]) + int(row["n_failed"])
    note = f"items without a value: {missing}" if missing else ""
    interval = Interval(float(row["estimate"]), float(row["ci_low"]), float(row["ci_high"]), str(row["method"]))
    unit = units.get((plan.scorer, plan.measure), "")
    return Finding(
        interval=interval, unit=unit, n_items=int(row["n_items"]), n_speakers=int(row["n_speakers"]), note=note
    )


def _row(plan: RowPlan, found: Finding | str) -> TableRow:
    if isinstance(found, str):
        nothing = Interval(math.nan, math.nan, math.nan, found)
        found = Finding(interval=nothing, unit="", n_items=0, n_speakers=0, note=found)
    value = found.interval
    note = found.note or ("" if math.isfinite(value.low) else value.method)
    return TableRow(
        name=plan.name,
        title=plan.title,
        value=_known(value.estimate),
        low=_known(value.low),
        high=_known(value.high),
        unit=found.unit,
        n_items=found.n_items,
        n_speakers=found.n_speakers,
        target=plan.target,
        met=plan.met(value),
        note=note,
    )


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
