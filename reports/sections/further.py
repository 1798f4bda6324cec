"""Measures that no other chapter asks for, such as those of a plug-in: shown, so that nothing measured is hidden."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from reports.artefacts import MeasureInfo
from reports.blocks import Prose
from reports.context import Context
from reports.sections import Section
from reports.tables import role_table


def build(context: Context) -> Sequence[object]:
    by_scorer: dict[str, list[MeasureInfo]] = {}
    for measure in _unasked(context):
        by_scorer.setdefault(measure.scorer_title or measure.scorer, []).append(measure)
    return [
        Prose("No rule of the policy and no chapter reads these numbers; their method cards say what they mean."),
        *(role_table(context, measures, title) for title, measures in by_scorer.items()),
    ]


def _unasked(context: Context) -> list[MeasureInfo]:
    """Measures with an estimate in some role that match no quantity of the policy."""
    patterns = [pattern for found in context.policy.quantities.values() for pattern in found]
    return [
        measure
        for measure in context.run.measures
        if measure.aggregate != "none"
        and not any(fnmatchcase(f"{measure.scorer}/{measure.measure}", pattern) for pattern in patterns)
        and any(context.estimate(measure, role) is not None for role in context.roles)
    ]


def _nothing(context: Context) -> str:
    return "" if _unasked(context) else "every measure of the run stands in a chapter above"


SECTION = Section(
    section_id="further", title="Further measures", part="measurements", order=9, build=build, condition=_nothing
)
