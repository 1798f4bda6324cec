"""Risk 2: does the system serve some groups of speakers worse than others, or the detector accuse them more?"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.blocks import Figure, Prose, Question
from reports.chapters import evidence, item_values, open_points, verdict
from reports.context import Context
from reports.estimates import Estimate, contrast
from reports.figures import interval_plot
from reports.findings import judge, note
from reports.formats import isolate, with_interval
from reports.frames import rows_where
from reports.group_gaps import (
    GroupPart,
    alarm_parts,
    excess_parts,
    gap,
    pairs_for,
    part_rows,
    parts_table,
    voice_parts,
)
from reports.indicators import IndicatorTable
from reports.prompts import origin_of
from reports.sections import Section

EVIDENCE = 4


def build(context: Context) -> Sequence[object]:
    blocks: list[object] = [
        Question(
            "Is speech of some groups rendered worse, or wrongly called synthetic more often, than that of others?"
        )
    ]
    axes = [axis for axis in context.run.group_names if 2 <= len(context.groups_of(axis)) <= 12]
    worst_items = _worst_items(context)
    shown = list(worst_items["item_id"].head(EVIDENCE))
    tables: list[object] = []
    table = IndicatorTable(context, "discrimination")
    for axis in axes:
        tables += _axis(context, axis, shown, table)
    if not any(finding.finding_id.startswith("ALG-1/") for finding in context.findings):
        tables += _voices(context, shown)
    _unmeasured(context, axes, table)
    blocks += [verdict(context, "discrimination"), *table.blocks(), *tables]
    text = "The utterances whose generated version loses most words against its own recording."
    blocks += evidence(
        context, "Largest losses", worst_items, context.lead_measure("word_error"), limit=EVIDENCE, note=text
    )
    wide = [axis for axis in context.run.group_names if len(context.groups_of(axis)) > 12]
    return blocks + open_points(
        ""
        if context.run.group_names
        else "Groups of people: the manifest names none. Add columns such as gender, accent"
        " or age; until then only voices can be compared.",
        f"Axes with more than twelve values: {', '.join(map(isolate, wide))}." if wide else "",
        ""
        if origin_of(context.run) == "human"
        else "False accusations by the detector: there is no human recording to accuse.",
        "Whether accents survive: no accent classifier belongs to this run. Groups under five speakers settle nothing.",
    )


def _unmeasured(context: Context, axes: Sequence[str], table: IndicatorTable) -> None:
    """Indicators of the chapter that this run cannot give, so that they are missed rather than forgotten."""
    if not axes:
        table.add(
            "Gap between groups in excess word errors", None, unit="share", measure="word_error",
            why_not="the manifest names no audit axis with two to twelve groups",
        )  # fmt: skip
    if origin_of(context.run) != "human":
        table.add(
            "Gap between groups in recordings called synthetic", None, unit="share", measure="detector",
            why_not="there is no human recording to accuse",
        )  # fmt: skip


def _axis(context: Context, axis: str, shown: Sequence[str], table: IndicatorTable) -> list[object]:
    blocks: list[object] = []
    excess = excess_parts(context, axis)
    if excess:
        title = f"Excess word error rate by {isolate(axis)}"
        blocks += _part_blocks(context, "ALG-1", axis, excess, title, shown, table)
    if origin_of(context.run) == "human":
        alarms = alarm_parts(context, axis)
        if alarms:
            title = f"Recordings called synthetic by {isolate(axis)}"
            blocks += _part_blocks(context, "ALG-2", axis, alarms, title, (), table)
    voices = voice_parts(context, axis)
    if voices:
        found = gap(voices)
        if found is not None:
            high, low, estimate = found
            label = f"Gap in the voice kept, {isolate(axis)}: {isolate(high)} minus {isolate(low)}"
            table.add(label, estimate, unit="", measure=voices[0].measure, floor=_zero())
    return blocks


def _zero() -> Estimate:
    return Estimate(estimate=0.0, no_interval="by definition: no gap")


def _part_blocks(
    context: Context, rule_id: str, axis: str, parts: Sequence[GroupPart], title: str, shown: Sequence[str],
    table: IndicatorTable,
) -> list[object]:  # fmt: skip
    rule = context.policy.rules[rule_id]
    found = gap(parts)
    if found is not None:
        high, low, estimate = found
        what = f"{rule.quantity}, {isolate(axis)}: {isolate(high)} minus {isolate(low)}"
        finding = judge(rule, estimate, what=what, measure=parts[0].measure, suffix=axis, evidence=shown, floor=_zero())
        context.add(finding)
        side = "the group called synthetic more often" if rule_id == "ALG-2" else "the group served worse"
        worse = f"{isolate(high)} is {side}" if estimate.estimate > 0 else "no gap at all"
        label = f"{rule.quantity}, by {isolate(axis)} ({worse})"
        own = {part.group: part.reference for part in parts}
        widest = Estimate(estimate=1.0, no_interval="by definition: one group always called synthetic, the other never")
        ceiling = Estimate(estimate=own[high] - own[low]) if rule_id == "ALG-1" else widest
        table.add(label[:1].upper() + label[1:], estimate, unit="share", measure=parts[0].measure, ceiling=ceiling,
                  floor=_zero(), finding=finding)  # fmt: skip
    svg = interval_plot(
        part_rows(parts), figure_id=f"fig-{rule_id.lower()}-{_slug(context, axis)}", title=title, unit="share"
    )
    return [Figure(svg=svg, caption=f"{title}, with 95 % intervals over speakers."), parts_table(parts, title, axis)]


def _slug(context: Context, axis: str) -> str:
    return str(context.run.group_names.index(axis) + 1)


def _voices(context: Context, shown: Sequence[str]) -> list[object]:
    """Without groups: how far the best and the worst served voice lie apart."""
    pairs = pairs_for(context)
    if pairs is None:
        return []
    names = sorted(set(pairs["speaker_id"]))
    excess = {
        str(speaker): found.estimate
        for speaker, found in ((name, contrast(rows_where(pairs, pairs["speaker_id"] == name))) for name in names)
        if found.known
    }
    if len(excess) < 2:
        return []
    worst, best = max(excess, key=lambda name: excess[name]), min(excess, key=lambda name: excess[name])
    estimate = Estimate(
        estimate=excess[worst] - excess[best],
        no_interval="no interval: each voice is one speaker, so there is nothing to resample",
        n_items=len(pairs),
        n_speakers=len(excess),
    )
    statement = (
        f"Gap between the worst and the best served voice in excess word error rate ({isolate(worst)} minus"
        f" {isolate(best)}): {with_interval(estimate, 'share')}. A largest gap is positive by construction, and"
        " grows with the number of voices."
    )
    lead = context.lead_measure("word_error")
    context.add(
        note(
            "ALG-3", "discrimination", estimate, statement=statement,
            measure=f"{lead.scorer}/{lead.measure}" if lead else "word error", unit="share",
            why_no_threshold="voices are no protected groups; it shows how far single voices can differ",
            evidence=shown,
        )
    )  # fmt: skip
    return [Prose("No audit axis with two or more groups has values, so voices are compared instead.", "small")]


def _worst_items(context: Context) -> pd.DataFrame:
    """Generated items by excess of errors over their own recording, most first."""
    lead = context.lead_measure("word_error")
    role = next((role for role in ("acoustic", "recorded") if context.has_role(role)), "")
    if lead is None or not role:
        return pd.DataFrame({"item_id": []})
    own = item_values(context, lead, role)
    reference = item_values(context, lead, "reference").set_index("utterance_id")["value"]
    excess = own["value"] - own["utterance_id"].map(reference).fillna(0.0).astype(float)
    return own.assign(excess=excess).sort_values(["excess", "item_id"], ascending=[False, True])


def _condition(context: Context) -> str:
    speakers = context.run.generations.loc[context.run.generations["speaker_id"] != "", "speaker_id"].nunique()
    return "" if speakers >= 2 else "the run names fewer than two speakers, so nothing can be compared"


SECTION = Section(
    section_id="discrimination",
    title="Algorithmic Discrimination",
    part="risks",
    order=1,
    build=build,
    reads=("word_error", "llr"),
    condition=_condition,
)
