"""The indicator table that opens every risk chapter: estimate, interval, ceiling, floor, what could have been seen."""

from __future__ import annotations

from dataclasses import dataclass, field

from reports.blocks import Bullets, Cell, Column, Table
from reports.context import Context
from reports.estimates import Estimate, minimum_detectable
from reports.findings import Finding, rank
from reports.formats import MISSING, interval_text, number_text
from reports.policy import Rule
from reports.schemas import Indicator
from reports.tables import count, number

__all__ = ["IndicatorTable"]

COLUMNS = (
    ("Indicator", "text"), ("Estimate", "number"), ("95 % interval", "number"), ("Ceiling", "number"),
    ("Floor", "number"), ("Smallest effect seen", "number"), ("Items", "number"), ("Speakers", "number"),
    ("Threshold", "number"), ("Verdict", "severity"),
)  # fmt: skip
NOTE = (
    "Ceiling: the same number for the recordings, or where it cannot be higher. Floor: the same number where nothing"
    " can be right, or for the codec alone. Smallest effect seen: the smallest true difference that this many speakers"
    " show in 80 of 100 audits; a smaller one would probably go unnoticed here."
)


@dataclass(slots=True)
class IndicatorTable:
    """Collects the indicators of one chapter, for the page and for ``summary.json``."""

    context: Context
    section: str
    caption: str = "Indicators"
    rows: list[list[Cell]] = field(default_factory=list)

    def add(
        self, name: str, estimate: Estimate | None, *, unit: str, measure: str, ceiling: Estimate | None = None,
        floor: Estimate | None = None, finding: Finding | None = None, why_not: str = "",
    ) -> None:  # fmt: skip
        """One indicator; without an estimate it is listed as not measured, with the reason."""
        if estimate is None or not estimate.known:
            blank = [Cell(MISSING, "number")] * (len(COLUMNS) - 3)
            self.rows.append([Cell(name), Cell(f"not measured: {why_not or 'no value in this run'}"), *blank])
            self.rows[-1] += [Cell("unknown", "severity", "-1")]
            self._record(name, None, unit, measure, ceiling, floor)
            return
        effect = minimum_detectable(estimate)
        limit = Cell("none", "number")
        verdict = Cell(MISSING)
        if finding is not None:
            verdict = Cell(finding.severity, "severity", str(rank(finding.severity)))
            if finding.threshold is not None:
                sign = {"above": "above ", "below": "below "}.get(finding.direction, "")
                limit = Cell(f"{sign}{number_text(finding.threshold, unit)}", "number")
        self.rows.append(
            [
                Cell(name),
                number(estimate.estimate, unit),
                Cell(interval_text(estimate, unit), "number"),
                _side(ceiling, unit),
                _side(floor, unit),
                number(effect, unit),
                count(estimate.n_items),
                count(estimate.n_speakers),
                limit,
                verdict,
            ]
        )
        self._record(name, estimate, unit, measure, ceiling, floor)

    def _record(
        self, name: str, estimate: Estimate | None, unit: str, measure: str, ceiling: Estimate | None,
        floor: Estimate | None,
    ) -> None:  # fmt: skip
        effect = minimum_detectable(estimate) if estimate else float("nan")
        known = estimate is not None
        interval = estimate is not None and estimate.has_interval
        self.context.indicators.append(
            Indicator(
                section=self.section,
                name=name,
                measure=measure,
                unit=unit,
                estimate=estimate.estimate if estimate else None,
                ci_low=estimate.ci_low if estimate and interval else None,
                ci_high=estimate.ci_high if estimate and interval else None,
                ceiling=ceiling.estimate if ceiling and ceiling.known else None,
                floor=floor.estimate if floor and floor.known else None,
                minimum_detectable=effect if effect == effect else None,
                n_items=estimate.n_items if estimate and known else 0,
                n_speakers=estimate.n_speakers if estimate and known else 0,
            )
        )

    def blocks(self) -> list[object]:
        """The table and, below it, where its thresholds come from."""
        if not self.rows:
            return []
        columns = [Column(label, style) for label, style in COLUMNS]
        title = next((o.title for o in self.context.outcomes if o.section_id == self.section), self.section)
        found: list[object] = [Table(caption=f"{self.caption}: {title}", columns=columns, rows=self.rows, note=NOTE)]
        lines = [_rule_line(rule) for rule in self.context.policy.rules.values() if rule.section == self.section]
        if lines:
            found.append(Bullets(title="Thresholds and where they come from", entries=lines))
        return found


def _rule_line(rule: Rule) -> str:
    unit = rule.unit
    limits = ", ".join(f"{level} {rule.direction} {number_text(value, unit)}" for level, value in rule.limits)
    return f"{rule.rule_id}, {rule.quantity}: {limits}. Source: {rule.source}."


def _side(estimate: Estimate | None, unit: str) -> Cell:
    return Cell(MISSING, "number") if estimate is None or not estimate.known else number(estimate.estimate, unit)
