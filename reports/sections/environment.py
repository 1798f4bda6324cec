"""Risk 4: what training and a generated hour cost in time, energy and carbon."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import Cell, Column, Facts, Figure, Prose, Question, Table
from reports.chapters import evidence, open_points, verdict
from reports.context import ROLE_TITLES, Context
from reports.energy import Machine, machine_of, real_time_factor, time_frame, training_record
from reports.estimates import Estimate
from reports.figures import Anchor, PlotRow, interval_plot
from reports.findings import judge, note
from reports.formats import MISSING, number_text, with_interval
from reports.indicators import IndicatorTable
from reports.sections import Section
from reports.tables import KINDS, estimate_cells, estimate_columns, number
from reports.training_energy import TrainingCost, cores_of, training_costs

ROLES = ("codec", "acoustic", "continuation", "unconditional", "recorded")
NOT_SAMPLED = "no interval: a total, not a sample"


def build(context: Context) -> Sequence[object]:
    role = context.generated_role
    frame = time_frame(context, role)
    order = frame.assign(value=frame["numerator"] / frame["denominator"])
    order = order.sort_values(["value", "item_id"], ascending=[False, True])
    shown = list(order["item_id"].head(2))
    machine = machine_of(context)
    table = IndicatorTable(context, "environment")
    _judge(context, machine, role, shown, table)
    costs = training_costs(context)
    training = _training(context, costs, table)
    basis = machine.basis if machine else "The run states no processor count, so time cannot be turned into energy."
    blocks: list[object] = [
        Question("What do training and one hour of generated speech cost in time, energy and carbon?"),
        verdict(context, "environment"),
        *table.blocks(),
        Prose(f"Power during generation. {basis}", "small"),
        *_tables(context, machine),
        *training,
    ]
    record = training_record(context)
    if record and not costs:
        blocks.append(Facts(title="Training, as the system describes it", pairs=list(record.items())))
    blocks += evidence(
        context, "The most expensive clips", order, None, limit=2, note="Longest computing per second of audio."
    )
    return blocks + open_points(
        "Energy of generation by a meter: power is assumed from processor counts, idle power is not subtracted.",
        "" if any(cost.energy_wh is not None for cost in costs)
        else "Training energy and carbon: the system description records none.",
        "Training runs that failed or were thrown away, unless the record counts them.",
        "Making the hardware, storage, network and cooling water.",
    )  # fmt: skip


def _judge(context: Context, machine: Machine | None, role: str, shown: list[str], table: IndicatorTable) -> None:
    factor, codec = real_time_factor(context, role), real_time_factor(context, "codec")
    if factor is None:
        return
    name = "wall_s / duration_s"
    if machine is not None:
        per_minute = 60.0 * machine.watts / 3600.0
        energy, floor = factor.times(per_minute), codec.times(per_minute) if codec else None
        rule = context.policy.rules["ENV-1"]
        found = judge(rule, energy, measure=f"{name} x power", unit="Wh", role=role, evidence=shown, floor=floor)
        context.add(found)
        most = Estimate(estimate=rule.limits[0][1], no_interval="the first threshold of the policy")
        table.add(
            "Energy per generated minute", energy, unit="Wh", measure=f"{name} x power", floor=floor, finding=found,
            ceiling=most,
        )  # fmt: skip
        table.add("Energy per generated hour", energy.times(60.0), unit="Wh", measure=f"{name} x power",
                  ceiling=most.times(60.0), floor=floor.times(60.0) if floor else None)  # fmt: skip
        grid = context.policy.assumptions["grid_kg_per_kwh"].value
        table.add(
            "Carbon per generated hour", energy.times(60.0 * grid), unit="g CO2e", measure=f"{name} x power x grid",
            ceiling=most.times(60.0 * grid), floor=floor.times(60.0 * grid) if floor else None,
        )  # fmt: skip
    else:
        table.add("Energy per generated hour", None, unit="Wh", measure=name, why_not="no processor count in run.json")
    table.add("Computing time per second of audio", factor, unit="s", measure=name, floor=codec,
              ceiling=Estimate(estimate=1.0, no_interval="as long as the audio lasts"))  # fmt: skip
    statement = f"Computing time per second of {role} audio: {with_interval(factor, 's')}."
    context.add(
        note(
            "ENV-2", "environment", factor, statement=statement, measure=name, unit="s", role=role,
            why_no_threshold="speed alone is no harm; it is the measured part of ENV-1", evidence=shown, floor=codec,
        )
    )  # fmt: skip


def _training(context: Context, costs: Sequence[TrainingCost], table: IndicatorTable) -> list[object]:
    """Training by part; the sum counts only what was counted, and says so."""
    grid = context.policy.assumptions["grid_kg_per_kwh"]
    known = [cost.energy_wh for cost in costs if cost.energy_wh is not None]
    total = Estimate(estimate=sum(known), no_interval=NOT_SAMPLED, n_items=len(known)) if known else None
    why = "the training records keep time and no energy" if costs else "the system description holds no training record"
    silent = ", ".join(cost.silent for cost in costs if cost.silent and cost.energy_wh is not None)
    partly = f", without {silent}" if silent else ""
    table.add(
        f"Energy of training{partly}",
        total.times(1e-3) if total else None,
        unit="kWh",
        measure="training record",
        why_not=why,
    )
    carbon = total.times(grid.value * 1e-3) if total else None
    table.add(
        f"Carbon of training{partly}", carbon, unit="kg CO2e", measure="training record x grid factor", why_not=why
    )
    if not costs:
        return []
    rows = [_training_row(context, cost, grid.value) for cost in costs]
    columns = [
        Column("Part"), Column("Wall time (h)", "number"), Column("Energy", "number"), Column("Carbon", "number"),
        Column("Had how"), Column("Hardware"),
    ]  # fmt: skip
    assumed = context.policy.assumptions["watts_per_cpu"]
    note_text = (
        f"Carbon with {grid.value:g} kg CO2e per kWh ({grid.source}). Where only time was recorded, the figure in"
        f" brackets is assumed: named cores at {assumed.value:g} W ({assumed.source}); it is not part of any sum."
    )
    return [Table(caption="What training cost, by part", columns=columns, rows=rows, note=note_text)]


def _training_row(context: Context, cost: TrainingCost, grid: float) -> list[Cell]:
    hours = cost.wall_s / 3600.0 if cost.wall_s else float("nan")
    energy, carbon = Cell(MISSING, "number"), Cell(MISSING, "number")
    if cost.energy_wh is not None:
        energy = number(cost.energy_wh, "Wh")
        carbon = number(cost.energy_wh * grid, "g CO2e")
    elif cost.wall_s and (cores := cores_of(cost)):
        value = {name: assumption.value for name, assumption in context.policy.assumptions.items()}
        assumed = hours * cores * value["watts_per_cpu"] * value["power_overhead"]
        energy = Cell(f"({number_text(assumed, 'Wh')})", "number")
        carbon = Cell(f"({number_text(assumed * grid, 'g CO2e')})", "number")
    return [
        Cell(cost.part), number(hours), energy, carbon, Cell(cost.source), Cell(cost.hardware or "not said", "foreign")
    ]  # fmt: skip


def _tables(context: Context, machine: Machine | None) -> list[object]:
    factors = {role: real_time_factor(context, role) for role in ROLES}
    known = {role: factor for role, factor in factors.items() if factor is not None}
    rows, plots = [], []
    grid = context.policy.assumptions["grid_kg_per_kwh"]
    for role, factor in known.items():
        name = ROLE_TITLES.get(role, role)
        rows.append([Cell(name), Cell("computing time per second of audio"), *estimate_cells(factor, "s")])
        if machine is not None:
            energy = factor.times(60.0 * machine.watts / 3600.0)
            rows.append([Cell(name), Cell("energy per generated minute"), *estimate_cells(energy, "Wh")])
            carbon = factor.times(machine.watts * grid.value)
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
    grid_note = f"Carbon with {grid.value:g} kg CO2e per kWh ({grid.source})."
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
