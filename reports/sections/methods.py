"""Method cards: what each scorer measures, how, and by whose definition."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reports.artefacts import MeasureInfo
from reports.blocks import Card, Cards, Cell, Column, Prose, Table
from reports.context import Context
from reports.formats import number_text
from reports.frames import column, rows_where
from reports.sections import Section
from reports.selftests import read_selftests, selftest_table
from reports.tables import unit_of

STATUSES = ("ok", "skipped", "failed")
DIRECTIONS = {"higher": "higher is better", "lower": "lower is better"}


def build(context: Context) -> Sequence[object]:
    scorers: dict[str, list[MeasureInfo]] = {}
    for measure in context.run.measures:
        scorers.setdefault(measure.scorer, []).append(measure)
    tests = read_selftests(context.run)
    cards = [_card(context, scorer, measures, tests) for scorer, measures in scorers.items()]
    if not cards:
        return [Prose("The run lists no measure.")]
    if tests:
        lead = (
            "Each scorer was asked for answers that are known beforehand; its card shows what it gave on this machine."
        )
    else:
        lead = (
            "Self tests were not measured: the run folder keeps no known answers that its scorers gave on this machine."
        )
    return [Prose(lead, "small" if tests else "warning"), Cards(cards)]


def _card(
    context: Context, scorer: str, measures: Sequence[MeasureInfo], tests: Mapping[str, list[Mapping[str, Any]]]
) -> Card:
    scores = rows_where(context.run.scores, context.run.scores["scorer"] == scorer)
    best: dict[str, int] = {}
    for item, status in zip(column(scores, "item_id"), column(scores, "status"), strict=True):
        best[item] = min(best.get(item, len(STATUSES)), STATUSES.index(status))
    places = Counter(best.values())
    counts = ", ".join(f"{places[place]:,} {name}" for place, name in enumerate(STATUSES))
    versions = ", ".join(sorted(set(scores["scorer_version"]) - {""}))
    pairs = [("Scorer", scorer), ("Items", counts)]
    pairs += [("Version", versions)] if versions else []
    pairs += _protocol(measures[0].protocol)
    rows = [
        [
            Cell(measure.label),
            Cell(measure.measure, "id"),
            Cell(unit_of(measure) or "none"),
            Cell(_reading(measure)),
            Cell(measure.meaning),
            Cell(measure.source),
        ]
        for measure in measures
    ]
    names = ("Measure", "Name in tables", "Unit", "How to read it", "Meaning", "Source")
    table = Table(caption=f"Measures of {scorer}", columns=[Column(name) for name in names], rows=rows)
    own = tests.get(scorer, [])
    failed = sum(row.get("met") is False for row in own)
    state = "not measured" if not own else f"{failed} of {len(own)} failed" if failed else f"all {len(own)} passed"
    pairs.append(("Self tests on this machine", state + (": treat its numbers as unverified" if failed else "")))
    extra = [selftest_table(scorer, own)] if own else []
    return Card(title=measures[0].scorer_title or scorer, pairs=pairs, table=table, more=extra)


def _protocol(protocol: object) -> list[tuple[str, str]]:
    if isinstance(protocol, Mapping):
        return [(str(key), value if isinstance(value, str) else json.dumps(value)) for key, value in protocol.items()]
    return [("Protocol", str(protocol))] if protocol else []


def _reading(measure: MeasureInfo) -> str:
    """Direction, range and how items are joined, in one line."""
    return "; ".join((DIRECTIONS.get(measure.direction, "no better side"), _range(measure), _aggregate(measure)))


def _range(measure: MeasureInfo) -> str:
    if measure.low is None and measure.high is None:
        return "unbounded"
    low = "" if measure.low is None else f"from {number_text(measure.low)}"
    high = "" if measure.high is None else f"to {number_text(measure.high)}"
    return f"{low} {high}".strip()


def _aggregate(measure: MeasureInfo) -> str:
    if measure.aggregate == "ratio_of_sums":
        return f"sum of {measure.numerator} over sum of {measure.denominator}"
    known = {
        "mean": "mean over items",
        "none": "kept per item",
        "detection": "one number for all items",
        "paired_difference": "mean of differences on the same prompts",
    }
    return known.get(measure.aggregate, measure.aggregate.replace("_", " "))


SECTION = Section(section_id="methods", title="Method cards", part="record", order=4, build=build)
