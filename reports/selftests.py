"""Oracle results of this machine: known answers that each scorer was asked for, where the run kept them.

``selftests.json`` in the run folder, or ``selftests`` in ``run.json``: a list of rows of the benchmarks' form,
``{"scorer", "name", "value", "unit", "against", "target", "met"}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reports.artefacts import Run
from reports.blocks import Cell, Column, Table
from reports.formats import MISSING, clean, number_text

__all__ = ["read_selftests", "selftest_table"]

NAME = "selftests.json"


def read_selftests(run: Run) -> dict[str, list[Mapping[str, Any]]]:
    """Scorer to its rows; empty where no self test was kept.

    Raises:
        ValueError: the file is no list of rows.
    """
    path = run.folder / NAME
    rows: Any = run.info.get("selftests") or []
    if path.is_file():
        try:
            rows = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}: is not JSON ({error}); run the self tests again") from error
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise ValueError(f"{path}: holds no list of self-test rows; run the self tests again")
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        scorer = str(row.get("scorer") or str(row.get("name", "")).partition("/")[0])
        found.setdefault(scorer, []).append(row)
    return found


def selftest_table(scorer: str, rows: list[Mapping[str, Any]]) -> Table:
    """Each known answer, what this installation gave, and whether that is within the stated tolerance."""
    lines = []
    for row in rows:
        unit = str(row.get("unit") or "")
        met = row.get("met")
        lines.append(
            [
                Cell(clean(row.get("name", ""))),
                Cell(_text(row.get("against"), unit), "number"),
                Cell(_text(row.get("value"), unit), "number"),
                Cell(_text(row.get("target"), ""), "number"),
                Cell("passed" if met is True else "failed" if met is False else "not said"),
            ]
        )
    columns = [
        Column("Known answer"), Column("Should be", "number"), Column("Was", "number"), Column("Tolerance", "number"),
        Column("Outcome"),
    ]  # fmt: skip
    return Table(caption=f"Self tests of {scorer} on this machine", columns=columns, rows=lines)


def _text(value: object, unit: str) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number_text(float(value), unit)
    return MISSING if value in (None, "") else clean(value)
