"""Where a number is lost: recording, codec, acoustic stages, semantic stage, each step paired and tested."""

from __future__ import annotations

from collections.abc import Sequence

from reports.artefacts import MeasureInfo
from reports.blocks import Figure, Prose
from reports.comparisons import Comparison, family_table, read_comparisons
from reports.context import Context
from reports.sections import Section
from reports.tables import unit_of
from reports.waterfall import Step, waterfall

LEADING = ("word_error", "similarity", "speech")
STEP_LABELS = {
    "codec": "the codec",
    "acoustic": "acoustic stages, from true semantic tokens",
    "continuation": "semantic stage, from its own tokens",
}
END_LABELS = {"codec": "through the codec", "acoustic": "generated acoustics", "continuation": "continuation"}


def build(context: Context) -> Sequence[object]:
    rows = [row for row in read_comparisons(context.run) if row.kind in ("stage", "floor")]
    blocks: list[object] = [
        Prose(
            "Each step adds one stage of the system on the same utterances: what the codec costs, what the coarse and"
            " fine stages cost when they are given the true semantic tokens, and what the semantic stage's own tokens"
            " add. Steps rest on the utterances that both sides have, so their ends may differ a little from the tables"
            " above."
        )
    ]
    shown: list[Comparison] = []
    for quantity in LEADING:
        measure = context.lead_measure(quantity)
        steps = [row for row in rows if measure and (row.scorer, row.measure) == measure.key]
        stages = [row for row in steps if row.kind == "stage"]
        if measure is None or not stages:
            continue
        shown += steps
        svg = waterfall(_bars(stages), figure_id=f"fig-steps-{quantity}", title=measure.label, unit=unit_of(measure))
        blocks.append(Figure(svg=svg, caption=_caption(measure)))
    blocks.append(family_table(context, shown, "Steps of the leading measures"))
    others = [row for row in rows if row not in shown]
    if others:
        blocks.append(family_table(context, others, "Steps of all other measures", folded=True))
    return blocks


def _bars(stages: Sequence[Comparison]) -> list[Step]:
    """The first side's level, the steps one on the other, and where they end."""
    level = stages[0].against_value
    bars = [Step("recording", 0.0, level, total=True)]
    for row in stages:
        bars.append(Step(f"+ {STEP_LABELS.get(row.role, row.role)}", level, level + row.difference))
        level += row.difference
    return [*bars, Step(END_LABELS.get(stages[-1].role, stages[-1].role), 0.0, level, total=True)]


def _caption(measure: MeasureInfo) -> str:
    better = {"higher": "; higher is better", "lower": "; lower is better"}.get(measure.direction, "")
    return f"{measure.label} from the recording to what the system makes, stage by stage{better}."


def _nothing(context: Context) -> str:
    rows = read_comparisons(context.run)
    if any(row.kind == "stage" for row in rows):
        return ""
    return "the run holds no two stages of the system on the same utterances, or was scored before steps were kept"


SECTION = Section(
    section_id="stages", title="Where it is lost: stage by stage", part="measurements", order=1, build=build,
    condition=_nothing,
)  # fmt: skip
