"""Risk 5: does a usable hour of generated speech undercut human narration?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.blocks import Cell, Column, Figure, Question, Table
from reports.chapters import evidence, item_values, open_points, verdict
from reports.context import Context
from reports.energy import Machine, machine_of, time_frame
from reports.estimates import Estimate, ratio
from reports.figures import PlotRow, interval_plot
from reports.findings import judge, note
from reports.formats import with_interval
from reports.frames import column, columns, rows_where
from reports.sections import Section
from reports.tables import estimate_cells, estimate_columns

NARRATION_HOUR_S = 3600.0
MASTER_HZ = 44_100


def build(context: Context) -> Sequence[object]:
    machine, role = machine_of(context), _judged_role(context)
    usable = usable_items(context, role)
    shown = list(usable.sort_values(["value", "item_id"])["item_id"].head(2)) if len(usable) else []
    rows, plots = [], []
    for name, estimate in _costs(context, machine, role, usable):
        rows.append([Cell(name), *estimate_cells(estimate, "USD")])
        plots.append(PlotRow(name, estimate))
    share = ratio(usable.assign(numerator=usable["usable"].astype(float), denominator=1.0)) if len(usable) else None
    _judge(context, share, role, rows, shown, dict(_costs(context, machine, role, usable)))
    blocks: list[object] = [
        Question("Would a usable hour of this speech be cheaper than a human narrator's finished hour?"),
        verdict(context, "employment"),
    ]
    if share is not None:
        rows.append([Cell("Share of usable clips"), *estimate_cells(share, "share")])
    low, high = (context.policy.assumptions[key] for key in ("human_usd_low", "human_usd_high"))
    if plots:
        human = [
            PlotRow("human narration, lower rate", Estimate(estimate=low.value), "ceiling"),
            PlotRow("human narration, upper rate", Estimate(estimate=high.value), "ceiling"),
        ]
        svg = interval_plot([*plots, *human], figure_id="fig-cost", title="Cost of an hour of speech", unit="USD")
        caption = "Cost of an hour in USD: machine time alone against published rates per finished hour."
        blocks.append(Figure(svg=svg, caption=caption))
    if rows:
        human_rates = f"Human rates: {low.value:g} to {high.value:g} USD per finished hour ({low.source})."
        note_text = f"{human_rates} {_price(context, machine)}"
        blocks.append(
            Table(caption="Cost and usable share", columns=estimate_columns("Quantity"), rows=rows, note=note_text)
        )
    if role != "recorded":
        blocks.append(_task_table(context))
    text = "Clips with the fewest errors above their recording: the best that this run offers a buyer."
    measure = context.lead_measure("word_error")
    blocks += evidence(
        context, "Best usable clips", usable.sort_values(["value", "item_id"]), measure, limit=2, note=text
    )
    return blocks + open_points(
        "" if len(usable) else "Share of usable clips: it needs transcripts, recordings and a recogniser.",
        "" if machine else "Cost: the run states no processor count.",
        "Human repair time, licences, and what listeners would pay or prefer.",
        "Headcount and wages of narrators, announcers and actors.",
    )


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


def _costs(context: Context, machine: Machine | None, role: str, usable: pd.DataFrame) -> list[tuple[str, Estimate]]:
    frame = time_frame(context, role)
    if machine is None or not len(frame):
        return []
    costs = [("Cost of a generated hour", ratio(frame).times(machine.usd_per_hour))]
    judged = rows_where(frame, frame["item_id"].isin(usable["item_id"]))
    good = set(usable.loc[usable["usable"].astype(bool), "item_id"]) if len(usable) else set()
    if len(judged) and good:
        kept = judged.assign(denominator=column(judged, "denominator").where(judged["item_id"].isin(good), 0.0))
        costs.append(("Cost of a usable hour", ratio(kept).times(machine.usd_per_hour)))
    return costs


def _judge(
    context: Context, share: Estimate | None, role: str, rows: list, shown: list[str], costs: dict[str, Estimate]
) -> None:
    usable_cost = costs.get("Cost of a usable hour")
    if usable_cost is not None and usable_cost.known:
        rule = context.policy.rules["UNE-1"]
        name = "wall_s x price / duration_s of usable clips"
        context.add(judge(rule, usable_cost, measure=name, unit="USD", role=role, evidence=shown))
    if share is not None and share.n_items:
        limit = context.policy.assumptions["usable_excess_wer"]
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


def _task_table(context: Context) -> Table:
    """What a narrator's job needs, answered from this run's items and from what the harness can ask of a system."""
    made = context.rows_of(context.run.generations, context.generated_role)
    made = made[made["status"] == "ok"]
    longest = float(made["duration_s"].max()) if len(made) else 0.0
    rate = float(made["sample_rate_hz"].max()) if len(made) else 0.0
    tasks = (
        ("Say given words", False, "a request to the system holds no text"),
        ("Read for an hour", longest >= NARRATION_HOUR_S, f"the longest clip of this run lasts {longest:.1f} s"),
        ("Deliver a 44.1 or 48 kHz master", rate >= MASTER_HZ, f"clips of this run have {rate:,.0f} Hz"),
        ("Continue a given voice", context.has_role("continuation"), "role continuation of this run"),
    )
    rows = [[Cell(task), Cell("yes" if can else "no"), Cell(why)] for task, can, why in tasks]
    columns = [Column("Narration task"), Column("Shown in this run"), Column("Because")]
    return Table(caption="What a narrator's job needs", columns=columns, rows=rows)


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
