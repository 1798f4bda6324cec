"""Which demands of public frameworks this report holds evidence for: a matrix whose cells lead to the sections."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

from reports.blocks import Cell, Column, Prose, Table
from reports.context import Context
from reports.sections import Section

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

LEVELS = ("evidence", "partial", "none")


def build(context: Context) -> Sequence[object]:
    blocks: list[object] = [
        Prose(
            "Evidence: the sections named answer the demand as far as a technical audit can. Partial: they answer"
            " a part of it, and the last column says what is missing. None: this report holds nothing for it. A"
            " section that"
            " was not run counts as nothing. This is an index for whoever writes a conformity file, not a statement"
            " that the system conforms."
        )
    ]
    for framework in crosswalk():
        rows, counts = [], Counter()
        for entry in framework["entries"]:
            level, row = _row(context, entry)
            counts[level] += 1
            rows.append(row)
        columns = [Column("Where", "id"), Column("Demand"), Column("Held"), Column("Section"), Column("Missing")]
        note = f"{', '.join(f'{counts[level]} {level}' for level in LEVELS)}. Source: {framework['source']}."
        blocks.append(Table(caption=framework["name"], columns=columns, rows=rows, note=note))
    return blocks


@lru_cache(maxsize=1)
def crosswalk() -> tuple[Mapping[str, Any], ...]:
    """Frameworks with their demands, from ``crosswalk.toml``."""
    text = (resources.files("reports") / "crosswalk.toml").read_text("utf-8")
    return tuple(tomllib.loads(text)["frameworks"])


def level_of(context: Context, entry: Mapping[str, Any]) -> tuple[str, list[tuple[str, str]]]:
    """How far a demand is met, and the sections of this report that hold it."""
    outcomes = {outcome.section_id: outcome for outcome in context.outcomes}
    built = [name for name in entry["sections"] if name in outcomes and not outcomes[name].not_run]
    links = [(f"#{name}", outcomes[name].title) for name in built]
    if not built or ("needs" in entry and not context.measures_for(entry["needs"]) and len(built) < 2):
        return "none", links
    whole = bool(entry.get("full")) and len(built) == len(entry["sections"])
    return ("evidence" if whole else "partial"), links


def _row(context: Context, entry: Mapping[str, Any]) -> tuple[str, list[Cell]]:
    level, links = level_of(context, entry)
    absent = [name for name in entry["sections"] if f"#{name}" not in {address for address, _ in links}]
    missing = [entry.get("missing", "")] + ([f"not run: {', '.join(absent)}"] if absent else [])
    text = "; ".join(part for part in missing if part) or ("" if level == "evidence" else "the rest of the demand")
    cells = [
        Cell(entry["id"], "id"),
        Cell(entry["demand"]),
        Cell(level, "held"),
        Cell("" if links else "–", links=tuple(links)),
        Cell(text or "–"),
    ]
    return level, cells


SECTION = Section(section_id="crosswalk", title="Framework crosswalk", part="record", order=3, build=build)
