"""Risk 4: what a generated minute costs in time, energy and carbon."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Cell, Facts, Figure, Prose, Question, Table
from reports.chapters import evidence, open_points, verdict
from reports.context import ROLE_TITLES, Context
from reports.energy import Machine, machine_of, real_time_factor, time_frame, training_record
from reports.figures import Anchor, PlotRow, interval_plot
from reports.findings import judge, note
from reports.formats import number_text, with_interval
from reports.sections import Section
from reports.tables import KINDS, estimate_cells, estimate_columns

ROLES = ("codec", "acoustic", "continuation", "unconditional", "recorded")


def build(context: Context) -> Sequence[object]:
    role = context.generated_role
    frame = time_frame(context, role)
    order = frame.assign(value=frame["numerator"] / frame["denominator"])
    order = order.sort_values(["value", "item_id"], ascending=[False, True])
    shown = list(order["item_id"].head(2))
    machine = machine_of(context)
    _judge(context, machine, role, shown)
    blocks: list[object] = [
        Question("What does one minute of generated speech cost in time, energy and carbon?"),
        verdict(context, "environment"),
        Prose(
            machine.basis if machine else "The run states no processor count, so time cannot be turned into energy.",
            "small",
        ),
        *_tables(context, machine),
    ]
    record = training_record(context)
    if record:
        blocks.append(Facts(title="Training, as the system describes it", pairs=list(record.items())))
    blocks += evidence(
        context, "The most expensive clips", order, None, limit=2, note="Longest computing per second of audio."
    )
    return blocks + open_points(
        "Energy by a meter: power is assumed from processor counts, idle power is not subtracted.",
        "" if any("energy" in key.lower() or "wh" in key.lower() for key in record)
        else "Training energy and carbon: the system description records none.",
        "Making the hardware, storage and network.",
    )  # fmt: skip


def _judge(context: Context, machine: Machine | None, role: str, shown: list[str]) -> None:
    factor = real_time_factor(context, role)
    if factor is None:
        return
    if machine is not None:
        energy = factor.times(60.0 * machine.watts / 3600.0)
        rule = context.policy.rules["ENV-1"]
        context.add(judge(rule, energy, measure="wall_s / duration_s x power", unit="Wh", role=role, evidence=shown))
    statement = f"Computing time per second of {role} audio: {with_interval(factor, 's')}."
    context.add(
        note(
            "ENV-2", "environment", factor, statement=statement, measure="wall_s / duration_s", unit="s",
            why_no_threshold="speed alone is no harm; it is the measured part of ENV-1", evidence=shown,
        )
    )  # fmt: skip


def _tables(context: Context, machine: Machine | None) -> list[object]:
    factors = {role: real_time_factor(context, role) for role in ROLES}
    known = {role: factor for role, factor in factors.items() if factor is not None}
    rows, plots = [], []
    grid = context.policy.assumptions["grid_kg_per_kwh"].value
    for role, factor in known.items():
        name = ROLE_TITLES.get(role, role)
        rows.append([Cell(name), Cell("computing time per second of audio"), *estimate_cells(factor, "s")])
        if machine is not None:
            energy = factor.times(60.0 * machine.watts / 3600.0)
            rows.append([Cell(name), Cell("energy per generated minute"), *estimate_cells(energy, "Wh")])
            carbon = factor.times(3600.0 * machine.watts / 3600.0 * grid)
            rows.append([Cell(name), Cell("carbon per generated hour"), *estimate_cells(carbon, "g CO2e")])
            plots.append(PlotRow(name, energy, "floor" if role == "codec" else KINDS.get(role, "main")))
    blocks: list[object] = []
    if plots:
        limits = [
            Anchor(f"{level} above {number_text(value, 'Wh')}", value)
            for level, value in context.policy.rules["ENV-1"].limits
        ]
        svg = interval_plot(
            plots, figure_id="fig-energy", title="Energy per generated minute", unit="Wh", anchors=limits
        )
        caption = "Energy per generated minute. The codec alone is the floor; the ceiling is the policy's threshold."
        blocks.append(Figure(svg=svg, caption=caption))
    grid_note = f"Carbon with {grid:g} kg CO2e per kWh ({context.policy.assumptions['grid_kg_per_kwh'].source})."
    columns = estimate_columns("Role", "Quantity")
    return [*blocks, Table(caption="Time, energy and carbon", columns=columns, rows=rows, note=grid_note)]


def _no_time(context: Context) -> str:
    if not context.generated_role:
        return "the run holds no generated clip"
    if not len(time_frame(context, context.generated_role)):
        return f"no computing time is recorded for role {context.generated_role}"
    return ""


SECTION = Section(
    section_id="environment",
    title="Environmental Impacts",
    part="risks",
    order=3,
    build=build,
    condition=_no_time,
)
