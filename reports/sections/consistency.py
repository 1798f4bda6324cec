"""Does the room, the noise and the level stay as the prompt goes over into the continuation?"""

from __future__ import annotations

from collections.abc import Sequence

from reports.artefacts import MeasureInfo
from reports.blocks import Cell, Column, Prose, Table
from reports.chapters import open_points
from reports.context import Context
from reports.estimates import Estimate, contrast, paired
from reports.formats import MISSING, interval_text
from reports.sections import Section
from reports.tables import count, number, role_table, unit_of


def build(context: Context) -> Sequence[object]:
    acoustics, seam = context.measures_for("consistency"), context.measures_for("seam")
    blocks: list[object] = [
        Prose(
            "A continuation ought to keep the room, the noise and the level of its prompt. Each measure compares prompt"
            " and clip. The recording's own second part is the ceiling: how much a real recording varies. Another"
            " speaker's continuation is the floor: what no relation at all looks like."
        )
    ]
    if acoustics:
        if context.has_role("continuation") and context.has_role("shuffled"):
            blocks.append(_scale(context, acoustics))
        note = "Differences between prompt and clip; read each row between the recording and the shuffled floor."
        blocks.append(role_table(context, acoustics, "Acoustic consistency with the prompt", note))
    if seam:
        note = "Measured around the moment where the prompt ends and the continuation begins."
        blocks.append(role_table(context, seam, "The seam", note))
    return blocks + open_points(
        "" if acoustics else "Acoustic consistency: no value in this run.",
        "" if seam else "The seam itself: no test of a jump at the boundary belongs to this run.",
        "Reverberation: judged by no measure of this run.",
    )


def _scale(context: Context, measures: Sequence[MeasureInfo]) -> Table:
    """Where the continuation lies between floor (0 %) and recording (100 %), and its gap to the floor."""
    rows = []
    for measure in measures:
        unit = unit_of(measure)
        values = {role: context.estimate(measure, role) for role in ("reference", "continuation", "shuffled")}
        ceiling, own, floor = values["reference"], values["continuation"], values["shuffled"]
        if own is None or floor is None:
            continue
        pairs = paired(context.items(measure, "continuation"), context.items(measure, "shuffled"))
        gap = contrast(pairs) if len(pairs) else Estimate(estimate=float("nan"))
        rows.append(
            [
                Cell(measure.label),
                number(ceiling.estimate, unit) if ceiling else Cell(MISSING, "number"),
                number(own.estimate, unit),
                number(floor.estimate, unit),
                _place(ceiling, own, floor),
                number(gap.estimate, unit),
                Cell(interval_text(gap, unit), "number"),
                count(gap.n_items),
                count(gap.n_speakers),
            ]
        )
    names = ("Recording", "Continuation", "Floor", "Place on the scale", "Above the floor", "95 % interval", "Pairs",
             "Speakers")  # fmt: skip
    columns = [Column("Measure"), *(Column(name, "number") for name in names)]
    note = (
        "Place on the scale: 0 % is the floor, 100 % the recording. Above the floor: continuation minus another"
        " speaker's on the same prompts, speakers resampled; where its interval includes zero, no"
        " consistency is established."
    )
    return Table(caption="Consistency on the scale from floor to recording", columns=columns, rows=rows, note=note)


def _place(ceiling: Estimate | None, own: Estimate, floor: Estimate) -> Cell:
    span = ceiling.estimate - floor.estimate if ceiling is not None else 0.0
    if abs(span) < 1e-9:
        return Cell(MISSING, "number")
    return number((own.estimate - floor.estimate) / span, "share")


SECTION = Section(
    section_id="consistency",
    title="Consistency with the prompt",
    part="measurements",
    order=1,
    build=build,
    reads=("consistency", "seam"),
)
