"""Is the speech intelligible, is it the same voice, does the room stay: each against ceiling and floor."""

from __future__ import annotations

from collections.abc import Sequence

from reports.artefacts import MeasureInfo
from reports.blocks import Figure, Prose
from reports.chapters import evidence, item_values, open_points
from reports.context import Context
from reports.estimates import contrast, paired
from reports.figures import interval_plot
from reports.findings import judge
from reports.frames import column, rows_where
from reports.misheard import misheard_blocks
from reports.sections import Section
from reports.tables import plot_rows, role_table, unit_of

STAGES = ("reference", "codec", "acoustic", "continuation", "recorded")
VOICE_ROLES = ("reference", "codec", "continuation", "shuffled")


def build(context: Context) -> Sequence[object]:
    blocks: list[object] = []
    words = context.measures_for("word_error")
    if words:
        blocks += _intelligibility(context, words)
    voices = context.measures_for("similarity")
    if voices:
        blocks += _voice(context, voices)
    codec = context.measures_for("codec")
    if codec:
        note = "The recording through the codec against the recording itself: what the codec alone costs."
        blocks.append(role_table(context, codec, "Codec", note))
    speech = context.measures_for("speech")
    if speech:
        blocks.append(role_table(context, speech, "Likeness to speech"))
    signal = context.measures_for("signal")
    if signal:
        note = "Measured on the clip alone; the recording says what is usual for these prompts."
        blocks.append(role_table(context, signal, "Signal and pitch", note))
    distances = [measure for measure in context.measures_for("distribution") if measure.aggregate != "none"]
    if distances:
        note = "How far all clips of a role lie from the recordings, as sets; a small set gives too large a distance."
        blocks.append(role_table(context, distances, "Distance of distributions", note))
    blocks += _same_words(context)
    return blocks + open_points(
        "" if words else "Word error rate: no transcript or no recogniser in this run.",
        "" if voices else "Voice: no speaker encoder gave a value, or the run has no prompts.",
        "" if codec else "Codec against recording (SI-SDR, STOI, spectral distance): no value in this run.",
        "" if context.measures_for("language") else "What the tokens know of language (ABX, likelihood ranking).",
        "" if distances else "Distribution distances (Frechet, kernel): none was computed.",
        "Naturalness as people hear it: no listening test belongs to this run.",
    )


def _intelligibility(context: Context, measures: Sequence[MeasureInfo]) -> list[object]:
    lead = measures[0]
    for rule, role in (("QUA-1", "acoustic"), ("QUA-3", "codec")):
        pairs = _pairs(context, lead, role, "reference")
        if len(pairs):
            found = judge(
                context.policy.rules[rule], contrast(pairs), measure=f"{lead.scorer}/{lead.measure}", role=role,
                against="reference",
            )  # fmt: skip
            context.add(found)
    rows = plot_rows(context, lead, STAGES)
    blocks: list[object] = [
        Prose(
            "Word errors are counted against the true transcript. What the recogniser gets wrong on the recording"
            " itself is its own share; each further line adds one stage of the system."
        )
    ]
    if rows:
        svg = interval_plot(rows, figure_id="fig-wer", title=f"{lead.label} by stage", unit=unit_of(lead))
        caption = f"{lead.label} by stage, corpus level, with 95 % intervals over speakers."
        blocks.append(Figure(svg=svg, caption=caption))
    extra = context.measures_for("word_extra")
    made = next((role for role in ("acoustic", "recorded") if context.has_role(role)), "reference")
    return [*blocks, role_table(context, [*measures, *extra], "Intelligibility"), *misheard_blocks(context, made)]


def _voice(context: Context, measures: Sequence[MeasureInfo]) -> list[object]:
    lead = measures[0]
    pairs = _pairs(context, lead, "continuation", "shuffled")
    if len(pairs):
        rule = context.policy.rules["QUA-2"]
        name = f"{lead.scorer}/{lead.measure}"
        found = judge(rule, contrast(pairs), measure=name, unit=unit_of(lead), role="continuation", against="shuffled")
        context.add(found)
    rows = plot_rows(context, lead, VOICE_ROLES)
    blocks: list[object] = []
    if rows:
        svg = interval_plot(rows, figure_id="fig-voice", title=lead.label, unit=unit_of(lead))
        caption = f"{lead.label}: the continuation between the recording's own second part and another speaker's clip."
        blocks.append(Figure(svg=svg, caption=caption))
    return [*blocks, role_table(context, measures, "Voice: similarity to the prompt")]


def _pairs(context: Context, measure: MeasureInfo, left: str, right: str):
    frames = (context.items(measure, role) for role in (left, right))
    return paired(*frames)


def _same_words(context: Context) -> list[object]:
    """The same recording at every stage, one after the other: the utterance with the median error."""
    items = context.run.generations
    items = rows_where(items, (items["status"] == "ok") & items["role"].isin(STAGES))
    if not len(items):
        return []
    lead = context.lead_measure("word_error")
    role = next((role for role in ("acoustic", "recorded", "continuation", "reference") if context.has_role(role)), "")
    order = item_values(context, lead, role).sort_values(["value", "item_id"]) if lead and role else items
    order = order if len(order) else items
    utterance = column(order, "utterance_id").iloc[len(order) // 2]
    chosen = rows_where(items, items["utterance_id"] == utterance)
    chosen = chosen.assign(rank=chosen["role"].map(STAGES.index)).sort_values(["rank", "item_id"])
    note = "One utterance through every stage, chosen for its median error, not for how it sounds."
    return list(evidence(context, "Hear the stages", chosen, None, limit=5, note=note))


SECTION = Section(
    section_id="quality",
    title="Quality against ceiling and floor",
    part="measurements",
    order=0,
    build=build,
    reads=("word_error", "similarity", "signal", "codec"),
)
