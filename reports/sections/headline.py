"""The leading measures with their anchor rows in one table, and the rules an auditor added."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Cell, Column, Prose, Table
from reports.context import ROLE_TITLES, Context
from reports.estimates import minimum_detectable
from reports.findings import judge
from reports.formats import MISSING, interval_text
from reports.sections import Section
from reports.tables import count, number, unit_of

LEADING = ("word_error", "similarity", "accepted", "flagged", "llr", "speech", "codec")


def build(context: Context) -> Sequence[object]:
    _own_rules(context)
    rows = []
    for quantity in LEADING:
        measure = context.lead_measure(quantity)
        if measure is None:
            continue
        unit = unit_of(measure)
        for role in context.roles:
            estimate = context.estimate(measure, role)
            if estimate is None:
                continue
            rows.append(
                [
                    Cell(measure.label),
                    Cell(ROLE_TITLES.get(role, role)),
                    number(estimate.estimate, unit),
                    Cell(interval_text(estimate, unit), "number"),
                    number(minimum_detectable(estimate), unit),
                    count(estimate.n_items),
                    count(estimate.n_speakers),
                    count(estimate.n_skipped + estimate.n_failed),
                    Cell({"higher": "higher", "lower": "lower"}.get(measure.direction, MISSING)),
                ]
            )
    names = ("Estimate", "95 % interval", "Smallest effect seen", "Items", "Speakers", "Without a value")
    columns = [Column("Measure"), Column("Role"), *(Column(name, "number") for name in names), Column("Better")]
    note = (
        "Read each measure between its anchors: the recording is the ceiling, the recording through the codec shows"
        " what the codec alone costs, another speaker's continuation is the floor. Smallest effect seen: the smallest"
        " true"
        " difference from a fixed value that so many speakers show in 80 of 100 audits."
    )
    return [
        Prose("One line per leading measure and role; every other measure stands in the chapters below.", "small"),
        Table(caption="Headline numbers with their anchors", columns=columns, rows=rows, note=note),
    ]


def _own_rules(context: Context) -> None:
    """Rules of the auditor's policy that name a measure and a role themselves."""
    measures = {f"{measure.scorer}/{measure.measure}": measure for measure in context.run.measures}
    for rule in context.policy.rules.values():
        measure = measures.get(rule.measure)
        if measure is None:
            continue
        estimate = context.estimate(measure, rule.role)
        if estimate is not None and estimate.n_items > 0:
            context.add(judge(rule, estimate, measure=rule.measure, unit=unit_of(measure), role=rule.role))


def _nothing(context: Context) -> str:
    found = any(context.lead_measure(name) for name in LEADING)
    return "" if found else "no scorer of the run gave a value for any leading measure"


SECTION = Section(
    section_id="headline", title="Headline numbers", part="measurements", order=-1, build=build, condition=_nothing
)
