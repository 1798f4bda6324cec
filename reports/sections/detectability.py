"""Can a detector tell these clips from bona fide speech: curves, operating point, worth of an alarm."""

from __future__ import annotations

from collections.abc import Sequence

from reports.artefacts import MeasureInfo
from reports.blocks import Cell, Column, Figure, Prose, Table
from reports.chapters import open_points
from reports.context import ROLE_TITLES, Context
from reports.estimates import Estimate
from reports.figures import DetSeries, det_plot
from reports.findings import judge
from reports.formats import MISSING, number_text
from reports.operating import PREVALENCES, curve_estimate, flagged_share, precision_at, shipped_threshold
from reports.prompts import origin_of
from reports.sections import Section
from reports.shortcuts import shortcut_blocks
from reports.tables import count, estimate_cells, estimate_columns


def build(context: Context) -> Sequence[object]:
    blocks: list[object] = [
        Prose(
            "A detector gives each clip a log-likelihood ratio; higher means more likely bona fide. The equal error"
            " rate is where as many synthetic clips pass as bona fide clips are flagged. It picks its threshold after"
            " the fact, so the shares at the shipped threshold stand beside it."
        )
    ]
    blocks += _curves(context)
    blocks += shortcut_blocks(context)
    for measure in context.measures_for("llr"):
        blocks += _operating_point(context, measure)
    return blocks + open_points(
        "" if context.run.curves else "Detection curve: the run stores none.",
        "Re-encoding, telephone band, noise and re-recording: no robustness grid belongs to this run; detect-card"
        " makes one of the detector.",
        "" if context.run.shortcuts else "Shortcut audit: needs human recordings beside the generated clips.",
        "Detectors other than those listed, and listeners.",
    )


def _curves(context: Context) -> list[object]:
    series, rows = [], []
    for curve in context.run.curves:
        estimate = curve_estimate(context, curve)
        name = f"{curve['detector']}: {curve['synthetic']} against {curve['bona_fide']}"
        if estimate is None:
            continue
        if len(curve["p_miss"]):
            series.append(DetSeries(name, curve["p_false_alarm"], curve["p_miss"], estimate.estimate))
        rows.append(
            [
                Cell(name),
                Cell(str(curve.get("bona_fide_source") or "not stated")),
                *estimate_cells(estimate, "share")[:2],
                count(int(curve["n_bona_fide"])),
                count(int(curve["n_synthetic"])),
            ]
        )
    if not rows:
        return []
    columns = [
        Column("Detector and classes"), Column("Bona fide speech"), Column("Equal error rate", "number"),
        Column("95 % interval", "number"), Column("Bona fide clips", "number"), Column("Synthetic clips", "number"),
    ]  # fmt: skip
    table = Table(caption="Equal error rates", columns=columns, rows=rows)
    if not series:
        return [table]
    svg = det_plot(series[:4], figure_id="fig-det", title="Detection error trade-off")
    caption = (
        "Detection error trade-off on normal-deviate axes; dots mark equal error rates. Lower left is better detection."
    )
    return [Figure(svg=svg, caption=caption), table]


def _operating_point(context: Context, measure: MeasureInfo) -> list[object]:
    shares = {role: flagged_share(context, measure, role) for role in context.roles}
    known = {role: share for role, share in shares.items() if share is not None}
    if not known:
        return []
    threshold = shipped_threshold(context, measure.scorer)
    at = "its shipped threshold" if threshold is None else f"its shipped threshold of {number_text(threshold, 'nats')}"
    rows = [[Cell(ROLE_TITLES.get(role, role)), *estimate_cells(share, "share")] for role, share in known.items()]
    table = Table(
        caption=f"{measure.scorer}: share of clips called synthetic at {at}",
        columns=estimate_columns("Role"),
        rows=rows,
        note="For the recording and the recording through the codec, this is the share wrongly flagged"
        + (" (the prompts are synthetic speech here, so being flagged is no error)." if _synthetic(context) else "."),
    )
    lead = context.lead_measure("llr")
    if lead is not None and measure.key != lead.key:
        return [table]
    _judge_codec(context, measure, known.get("codec"))
    return [table, *_precision(context, measure, known)]


def _synthetic(context: Context) -> bool:
    return origin_of(context.run) == "synthetic"


def _judge_codec(context: Context, measure: MeasureInfo, share: Estimate | None) -> None:
    if share is not None and origin_of(context.run) == "human":
        name = f"{measure.scorer}/{measure.measure}"
        ceiling = flagged_share(context, measure, "reference")
        context.add(judge(context.policy.rules["DET-2"], share, measure=name, role="codec", ceiling=ceiling))


def _precision(context: Context, measure: MeasureInfo, known: dict[str, Estimate]) -> list[object]:
    detected, false_alarms = known.get(context.generated_role), known.get("reference")
    if detected is None or false_alarms is None or origin_of(context.run) != "human":
        text = (
            "What an alarm is worth at a realistic prevalence needs the share of human recordings that it flags;"
            " this run has no human recordings, so it is not computed."
        )
        return [Prose(text, "warning")]
    rows = []
    for prevalence in PREVALENCES:
        worth = precision_at(prevalence, detected, false_alarms)
        alarm_rate = prevalence * detected.estimate + (1 - prevalence) * false_alarms.estimate
        per = number_text(1e4 * alarm_rate) if alarm_rate == alarm_rate else MISSING
        rows.append([Cell(number_text(prevalence, "share")), *estimate_cells(worth, "share")[:2], Cell(per, "number")])
        if prevalence == 0.01 and worth.known:
            context.add(judge(context.policy.rules["DET-1"], worth, measure=f"{measure.scorer}/{measure.measure}"))
    columns = [Column("Synthetic clips among all"), Column("Alarms that are right", "number"),
               Column("Interval", "number"), Column("Alarms per 10,000 clips", "number")]  # fmt: skip
    note = "The interval joins the worst ends of both shares, so it is wider than 95 % for a single one."
    return [Table(caption="What an alarm is worth", columns=columns, rows=rows, note=note)]


SECTION = Section(
    section_id="detectability",
    title="Detectability",
    part="measurements",
    order=2,
    build=build,
    reads=("llr",),
)
