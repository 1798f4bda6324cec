"""What was laid down before the audit, and every way in which the run is not as planned."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Bullets, Cell, Column, Facts, Prose, Table
from reports.context import Context
from reports.formats import MISSING
from reports.plan import deviations
from reports.sections import Section
from reports.tables import count, number


def build(context: Context) -> Sequence[object]:
    blocks: list[object] = []
    if context.policy.changed:
        names = ", ".join(context.policy.changed)
        blocks.append(Prose(f"The auditor's policy adds to or changes the shipped one in: {names}."))
    plan = context.plan
    if plan is None:
        text = (
            "This audit had no plan: nothing was laid down before generation, so thresholds and sizes could have been"
        )
        return [
            *blocks,
            Prose(f"{text} chosen after the numbers were known. audiolm-audit plan writes one.", "warning"),
        ]
    context.deviations = deviations(plan, context.run, context.policy, context.findings)
    blocks.append(
        Facts(title="Plan", pairs=[("Title", plan.title), ("Made", plan.made_utc), ("Policy", plan.policy_sha256)])
    )
    if context.deviations:
        blocks.append(Bullets(title=f"Deviations ({len(context.deviations)})", entries=context.deviations))
    else:
        blocks.append(Prose("The run kept to the plan: prompts, options, seeds, scorers, slices, items and policy."))
    rows = [
        [
            Cell(size.rule, "id"),
            Cell(size.quantity),
            count(size.n_speakers),
            number(size.minimum_detectable if size.minimum_detectable is not None else float("nan")),
            Cell(f"{size.speakers_needed:,}" if size.speakers_needed else MISSING, "number"),
            Cell(size.sd_source),
        ]
        for size in plan.sample_sizes
    ]
    columns = [
        Column("Rule", "id"), Column("Quantity"), Column("Speakers planned", "number"),
        Column("Smallest effect planned", "number"), Column("Speakers for the threshold", "number"),
        Column("Spread taken from"),
    ]  # fmt: skip
    return [*blocks, Table(caption="Planned sample sizes", columns=columns, rows=rows)]


SECTION = Section(section_id="plan", title="Plan and deviations", part="record", order=2, build=build, closing=True)
