"""Risk 5: does a usable hour of generated speech undercut human narration?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from reports.blocks import Cell, Clips, Column, Figure, Question, Table
from reports.chapters import item_values, open_points, verdict
from reports.context import Context
from reports.energy import Machine, machine_of, time_frame
from reports.estimates import Estimate, ratio
from reports.figures import PlotRow, interval_plot
from reports.findings import judge, note
from reports.formats import number_text, with_interval
from reports.frames import column, columns, rows_where
from reports.indicators import IndicatorTable
from reports.sections import Section
from reports.tables import number

NARRATION_HOUR_S = 3600.0
MASTER_HZ = 44_100
CHAPTER_S = 300.0
PLAIN_COST, USABLE_COST = "Cost of a generated hour", "Cost of a usable hour"
HUMAN_RATES = (
    ("human_usd_small", "small publishers"),
    ("human_usd_low", "lower typical rate"),
    ("human_usd_high", "union minimum"),
    ("human_usd_established", "established narrators"),
)


def build(context: Context) -> Sequence[object]:
    machine, role = machine_of(context), _judged_role(context)
    usable = usable_items(context, role)
    shown = list(usable.sort_values(["value", "item_id"])["item_id"].head(2)) if len(usable) else []
    costs = _costs(context, machine, role, usable)
    share = ratio(usable.assign(numerator=usable["usable"].astype(float), denominator=1.0)) if len(usable) else None
    table = IndicatorTable(context, "employment")
    _judge(context, share, role, shown, costs, table)
    blocks: list[object] = [
        Question("Would a usable hour of this speech be cheaper than a human narrator's finished hour?"),
        verdict(context, "employment"),
        *table.blocks(),
    ]
    blocks += [*_cost_figure(context, costs), _human_rates(context, machine)]
    if role != "recorded":
        blocks.append(_task_table(context, share))
    text = "Clips with the fewest errors above their recording: the best that this run offers a buyer."
    facts = {
        str(item): [f"Word error rate above the recording's own: {number_text(float(value), 'share')}"]
        for item, value in zip(usable["item_id"], usable["value"], strict=True)
    }
    clips = context.desk.clips(shown, {item: facts[item] for item in shown})
    blocks += [Clips(title="Clips closest to being usable", clips=clips, note=text)] if clips else []
    return blocks + open_points(
        "" if len(usable) else "Share of usable clips: it needs transcripts, recordings and a recogniser.",
        "" if machine else "Cost: the run states no processor count.",
        "Human repair time, licences, energy beyond the price of the machine, and what listeners would pay or prefer.",
        "Headcount and wages of narrators, announcers and actors, and how far their tasks are exposed.",
    )


def _cost_figure(context: Context, costs: Mapping[str, Estimate]) -> list[object]:
    if not costs:
        return []
    plots = [PlotRow(name, estimate) for name, estimate in costs.items()]
    for key, label in HUMAN_RATES[:3]:
        value = context.policy.assumptions[key].value
        plots.append(PlotRow(f"human narration, {label}", Estimate(estimate=value), "ceiling"))
    svg = interval_plot(plots, figure_id="fig-cost", title="Cost of an hour of speech", unit="USD")
    return [
        Figure(svg=svg, caption="Cost of an hour in USD: machine time alone against published rates per finished hour.")
    ]


def _human_rates(context: Context, machine: Machine | None) -> Table:
    """Published rates with their sources: what the machine's cost is held against."""
    rows = []
    for key, label in HUMAN_RATES:
        entry = context.policy.assumptions[key]
        rows.append([Cell(label[:1].upper() + label[1:]), number(entry.value, "USD"), Cell(entry.source)])
    hours = context.policy.assumptions["human_hours_low"]
    rows.append([Cell("Working hours per finished hour"), number(hours.value), Cell(hours.source)])
    columns = [Column("Human narration"), Column("Per finished hour", "number"), Column("Source")]
    return Table(caption="What human narration costs", columns=columns, rows=rows, note=_price(context, machine))


def _judged_role(context: Context) -> str:
    """The role with a transcript, since only there is it known whether a clip can be used."""
    return next((role for role in ("acoustic", "recorded") if context.has_role(role)), context.generated_role)


def usable_items(context: Context, role: str) -> pd.DataFrame:
    """Items with ``value`` (excess word error over their own recording) and ``usable``; empty without transcripts.

    A clip whose recording is itself mostly misheard cannot be shown to be usable, and so is not.
    """
    lead = context.lead_measure("word_error")
    names = ["item_id", "utterance_id", "speaker_id", "value", "usable"]
    if lead is None:
        return pd.DataFrame({name: [] for name in names})
    own = item_values(context, lead, role)
    reference = item_values(context, lead, "reference").set_index("utterance_id")["value"]
    heard = own["utterance_id"].map(reference).fillna(0.0).astype(float)
    own = own.assign(value=own["value"] - heard)
    limit = context.policy.assumptions["usable_excess_wer"].value
    judgeable = heard <= context.policy.assumptions["judgeable_reference_wer"].value
    return columns(own.assign(usable=(own["value"] <= limit) & judgeable), names)


def _costs(context: Context, machine: Machine | None, role: str, usable: pd.DataFrame) -> dict[str, Estimate]:
    frame = time_frame(context, role)
    if machine is None or not len(frame):
        return {}
    costs = {PLAIN_COST: ratio(frame).times(machine.usd_per_hour)}
    judged = rows_where(frame, frame["item_id"].isin(usable["item_id"]))
    good = set(usable.loc[usable["usable"].astype(bool), "item_id"]) if len(usable) else set()
    if len(judged) and good:
        kept = judged.assign(denominator=column(judged, "denominator").where(judged["item_id"].isin(good), 0.0))
        costs[USABLE_COST] = ratio(kept).times(machine.usd_per_hour)
    return costs


def _judge(
    context: Context, share: Estimate | None, role: str, shown: list[str], costs: Mapping[str, Estimate],
    table: IndicatorTable,
) -> None:  # fmt: skip
    usable_cost = costs.get(USABLE_COST)
    human = context.policy.assumptions["human_usd_low"]
    ceiling = Estimate(estimate=human.value, no_interval="published rate")
    name, found = "wall_s x price / duration_s", None
    if usable_cost is not None and usable_cost.known:
        rule = context.policy.rules["UNE-1"]
        found = judge(
            rule, usable_cost, measure=f"{name} of usable clips", unit="USD", role=role, evidence=shown, ceiling=ceiling
        )
        context.add(found)
    table.add(
        USABLE_COST, usable_cost, unit="USD", measure=f"{name} of usable clips", ceiling=ceiling, finding=found,
        floor=costs.get(PLAIN_COST), why_not="no clip of this run is usable" if share is not None else "no transcripts",
    )  # fmt: skip
    codec, machine = time_frame(context, "codec"), machine_of(context)
    alone = ratio(codec).times(machine.usd_per_hour) if machine and len(codec) else None
    table.add(PLAIN_COST, costs.get(PLAIN_COST), unit="USD", measure=name, ceiling=ceiling, floor=alone)
    limit = context.policy.assumptions["usable_excess_wer"]
    table.add(
        "Share of usable clips", share, unit="share", measure="share of clips within the usable limit",
        ceiling=Estimate(estimate=1.0, no_interval="by definition"),
        floor=Estimate(estimate=0.0, no_interval="by definition"), why_not="it needs transcripts and a recogniser",
    )  # fmt: skip
    if share is not None and share.n_items:
        tail = (
            ""
            if usable_cost is not None
            else " Without a usable clip, an hour of usable speech cannot be had at any price."
        )
        statement = f"Share of usable {role} clips: {with_interval(share, 'share')}.{tail}"
        context.add(
            note(
                "UNE-2", "employment", share, statement=statement, measure="share of clips within the usable limit",
                unit="share", evidence=shown,
                why_no_threshold=f"it divides the cost in UNE-1; usable means at most {limit.value:g} {limit.unit}",
            )
        )  # fmt: skip


def _price(context: Context, machine: Machine | None) -> str:
    if machine is None:
        return ""
    source = context.policy.assumptions["usd_per_cpu_hour"].source
    return f"Machine time at {machine.usd_per_hour:.3g} USD per hour ({source})."


def _task_table(context: Context, share: Estimate | None) -> Table:
    """What a narrator's job needs, answered from this run's items and from what the harness can ask of a system."""
    made = context.rows_of(context.run.generations, context.generated_role)
    made = made[made["status"] == "ok"]
    longest = float(made["duration_s"].max()) if len(made) else 0.0
    rate = float(made["sample_rate_hz"].max()) if len(made) else 0.0
    no_text = "a request to the system holds no text"
    understood = "not measured" if share is None else f"share of usable clips {number_text(share.estimate, 'share')}"
    tasks = (
        ("Read a given text", "no", no_text),
        ("Be understood as well as a recording", "yes" if share and share.estimate > 0.5 else "no", understood),
        ("Keep one voice through a chapter", "yes" if longest >= CHAPTER_S else "no",
         f"longest clip {number_text(longest, 's')}; a chapter lasts some minutes"),
        ("Give characters their own voices", "no", "a voice comes from a prompt and cannot be asked for by name"),
        ("Take direction: slower, sadder, again", "no", "a request holds no instruction"),
        ("Pronounce names and foreign words as told", "no", no_text),
        ("Read for an hour", "yes" if longest >= NARRATION_HOUR_S else "no", f"longest {number_text(longest, 's')}"),
        ("Deliver a 44.1 or 48 kHz master", "yes" if rate >= MASTER_HZ else "no", f"clips have {rate:,.0f} Hz"),
        ("Continue in a given voice", "yes" if context.has_role("continuation") else "no", "role continuation"),
    )  # fmt: skip
    rows = [[Cell(task), Cell(can), Cell(why)] for task, can, why in tasks]
    able = sum(can == "yes" for _, can, _ in tasks)
    columns = [Column("Task of a narrator"), Column("Shown in this run"), Column("Because")]
    note_text = f"{able} of {len(tasks)} tasks are shown. A task not shown may still be possible; it was not seen here."
    return Table(
        caption="What the system can and cannot do of a narrator's work", columns=columns, rows=rows, note=note_text
    )


def _condition(context: Context) -> str:
    role = _judged_role(context)
    if not role:
        return "the run holds no generated clip"
    if len(time_frame(context, role)) or len(usable_items(context, role)):
        return ""
    return f"neither computing time nor word errors are recorded for role {role}"


SECTION = Section(
    section_id="employment",
    title="Technological Unemployment",
    part="risks",
    order=4,
    build=build,
    condition=_condition,
)
