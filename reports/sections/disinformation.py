"""Risk 1: can generated speech pass as bona fide speech?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports.artefacts import MeasureInfo
from reports.blocks import Figure, Question
from reports.chapters import evidence, item_values, open_points, verdict
from reports.context import ROLE_TITLES, Context
from reports.estimates import Estimate
from reports.figures import Anchor, PlotRow, interval_plot
from reports.findings import judge
from reports.formats import isolate, number_text
from reports.indicators import IndicatorTable
from reports.marking import surviving_shares, tagged_share
from reports.operating import PREVALENCES, curve_estimate, flagged_share, precision_at, same_detector
from reports.prompts import origin_of
from reports.sections import Section
from reports.tables import KINDS

EVIDENCE = 4


def build(context: Context) -> Sequence[object]:
    measure = context.lead_measure("llr")
    role = context.generated_role
    blocks: list[object] = [Question("Would a listener's machine notice that this speech is synthetic?")]
    if measure is None:
        return blocks
    ordered = item_values(context, measure, role).sort_values(["value", "item_id"], ascending=[False, True])
    shown = list(ordered["item_id"].head(EVIDENCE))
    shares = {role: _passing(flagged_share(context, measure, role)) for role in context.roles}
    table = IndicatorTable(context, "disinformation")
    _judge_curve(context, measure, role, shown, table)
    share = shares.get(role)
    _judge_share(context, measure, role, shown, shares, table)
    _precision(context, measure, role, table)
    _marking(context, table)
    blocks += [verdict(context, "disinformation"), *table.blocks()]
    rows = [PlotRow(ROLE_TITLES.get(r, r), s, KINDS.get(r, "main")) for r, s in shares.items() if s and r != "shuffled"]
    if rows:
        limits = [
            Anchor(f"{level} above {number_text(value, 'share')}", value)
            for level, value in context.policy.rules["DIS-2"].limits
            if level == "major"
        ]
        svg = interval_plot(
            rows, figure_id="fig-pass", title="Share of clips that pass as bona fide", unit="share", anchors=limits
        )
        caption = (
            "Share of clips that pass as bona fide at the shipped threshold. The recording is the ceiling; a perfect"
        )
        blocks.append(Figure(svg=svg, caption=f"{caption} detector lets no generated clip pass, so the floor is 0 %."))
    note = "The generated clips that the detector holds most likely to be bona fide: its worst cases, best first."
    blocks += evidence(context, "Clips that come closest to passing", ordered, measure, limit=EVIDENCE, note=note)
    return blocks + open_points(
        "" if share is not None else "Share that passes: the run records no verdicts of the detector.",
        ""
        if origin_of(context.run) == "human"
        else "Human recordings as the bona fide side: this run has none of its own.",
        "A watermark in the sound itself: the system sets none, and none was tested. Playing a clip into a microphone"
        " loses any tag; programs that carry tags over may keep it where ours did not.",
        "Whether people are deceived: no listening test.",
    )


def _judge_share(
    context: Context, measure: MeasureInfo, role: str, shown: list[str], shares: Mapping[str, Estimate | None],
    table: IndicatorTable,
) -> None:  # fmt: skip
    share, ceiling = shares.get(role), shares.get("reference")
    floor = Estimate(estimate=0.0, no_interval="by definition")
    name = f"{measure.scorer}/{measure.measure}"
    found = None
    if share is not None:
        rule = context.policy.rules["DIS-2"]
        found = judge(rule, share, measure=name, role=role, evidence=shown, ceiling=ceiling, floor=floor)
        context.add(found)
    table.add(
        "Generated clips that pass as bona fide", share, unit="share", measure=name, ceiling=ceiling, floor=floor,
        finding=found, why_not="the run records no verdicts of the detector",
    )  # fmt: skip


def _precision(context: Context, measure: MeasureInfo, role: str, table: IndicatorTable) -> None:
    """What an alarm is worth where few clips are synthetic: Bayes' rule on the two shares."""
    detected, alarms = flagged_share(context, measure, role), flagged_share(context, measure, "reference")
    usable = detected is not None and alarms is not None and origin_of(context.run) == "human"
    for prevalence in PREVALENCES:
        worth = precision_at(prevalence, detected, alarms) if usable and detected and alarms else None
        table.add(
            f"Alarms that are right where {number_text(prevalence, 'share')} of clips are synthetic", worth,
            unit="share", measure=f"{measure.scorer}/{measure.measure}",
            ceiling=Estimate(estimate=1.0, no_interval="by definition: a detector without error"),
            floor=Estimate(estimate=prevalence, no_interval="by definition: alarms at random"),
            why_not="it needs the share of human recordings flagged, and this run has none"
            if not usable else "no clip was flagged",
        )  # fmt: skip


def _marking(context: Context, table: IndicatorTable) -> None:
    share, _ = tagged_share(context)
    table.add(
        "Generated clips whose file says they are synthetic", share, unit="share", measure="comment tag of the file",
        ceiling=Estimate(estimate=1.0, no_interval="by definition: every clip is marked"),
        floor=Estimate(estimate=0.0, no_interval="by definition"), why_not="no clip of the run can be opened",
    )  # fmt: skip
    for handling, survived in surviving_shares(context).items():
        table.add(
            f"Of these, still marked when {handling}", survived, unit="share",
            measure="comment tag of the file",
            ceiling=Estimate(estimate=1.0, no_interval="by definition: every mark survives"),
            floor=Estimate(estimate=0.0, no_interval="by definition"), why_not="no clip of the run is marked",
        )  # fmt: skip


def _passing(flagged: Estimate | None) -> Estimate | None:
    """One minus the flagged share, interval turned round."""
    if flagged is None:
        return None
    return Estimate(
        estimate=1.0 - flagged.estimate,
        ci_low=1.0 - flagged.ci_high,
        ci_high=1.0 - flagged.ci_low,
        no_interval=flagged.no_interval,
        n_items=flagged.n_items,
        n_speakers=flagged.n_speakers,
        method=flagged.method,
    )


def _judge_curve(context: Context, measure: MeasureInfo, role: str, shown: list[str], table: IndicatorTable) -> None:
    """One finding per bona fide class that the role's clips were held against."""
    rule = context.policy.rules["DIS-1"]
    for curve in context.run.curves:
        if curve["synthetic"] != role or not same_detector(str(curve["detector"]), measure.scorer):
            continue
        estimate = curve_estimate(context, curve)
        if estimate is not None and estimate.n_items > 0:
            what = f"equal error rate of {isolate(curve['detector'])}, {role} against {isolate(curve['bona_fide'])}"
            suffix = str(curve["bona_fide"])
            again = sum(finding.finding_id.startswith(f"DIS-1/{suffix}") for finding in context.findings)
            suffix += f"/{again + 1}" if again else ""
            name = f"{measure.scorer}/eer"
            chance = Estimate(estimate=0.5, no_interval="by definition: clips like recordings")
            perfect = Estimate(estimate=0.0, no_interval="by definition: every clip told apart")
            found = judge(
                rule, estimate, what=what, measure=name, suffix=suffix, evidence=shown, role=role, ceiling=chance,
                floor=perfect,
            )  # fmt: skip
            context.add(found)
            label = f"Equal error rate against {isolate(curve.get('bona_fide_source') or curve['bona_fide'])}"
            table.add(label, estimate, unit="share", measure=name, ceiling=chance, floor=perfect, finding=found)


def _nothing_judged(context: Context) -> str:
    role, measure = context.generated_role, context.lead_measure("llr")
    if not role:
        return "the run holds no generated clip"
    if measure is None or len(context.items(measure, role)):
        return ""
    return f"no detector gave a value for role {role}{context.why_absent(context.policy.quantities['llr'])}"


SECTION = Section(
    section_id="disinformation",
    title="Disinformation",
    part="risks",
    order=0,
    build=build,
    reads=("llr",),
    condition=_nothing_judged,
)
