"""Was the comparison of a detector fair: single numbers about the recordings, tried as detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.blocks import Cell, Column, Figure, Prose, Table
from reports.context import ROLE_TITLES, Context
from reports.estimates import NAN, Estimate
from reports.figures import Anchor, PlotRow, interval_plot
from reports.formats import number_text
from reports.tables import count

__all__ = ["shortcut_blocks"]

SHOWN = 6


def shortcut_blocks(context: Context) -> Sequence[object]:
    """Verdict, table and figure per pair of classes; nothing where the run has no human recordings."""
    found: list[object] = []
    for place, audit in enumerate(context.run.shortcuts):
        found += _one(audit, figure_id=f"fig-shortcuts-{place}")
    return found


def _title(role: str) -> str:
    return ROLE_TITLES.get(role, role)


def _estimate(row: Mapping[str, Any]) -> Estimate:
    low, high = (NAN if row[end] is None else float(row[end]) for end in ("low", "high"))
    return Estimate(
        estimate=float(row["auc"]), ci_low=low, ci_high=high, n_items=int(row["n_bona_fide"]) + int(row["n_synthetic"])
    )


def _one(audit: Mapping[str, Any], *, figure_id: str) -> list[object]:
    limit = float(audit["limit"])
    pair = f"{_title(audit['synthetic'])} against {_title(audit['bona_fide'])}"
    rows = sorted(audit["probes"], key=lambda row: -row["auc"])
    unfair = [row["probe"] for row in rows if row["auc"] > limit]
    if unfair:
        text = (
            f"{pair}: this data set is unfair. {', '.join(unfair)} alone tell the classes apart better than"
            f" {number_text(limit)} AUC, so a detector's error rate on it may come from there and not from the speech."
        )
    else:
        text = f"{pair}: no single number about the recordings passes {number_text(limit)} AUC; fair by these probes."
    columns = [Column("Probe"), Column("AUC", "number"), Column("95 % interval", "number"),
               Column("Higher values"), Column("Bona fide", "number"), Column("Synthetic", "number")]  # fmt: skip
    cells = [
        [
            Cell(row["probe"]),
            Cell(number_text(row["auc"]), "number"),
            Cell("" if row["low"] is None else f"{number_text(row['low'])} to {number_text(row['high'])}", "number"),
            Cell(row["higher_means"]),
            count(int(row["n_bona_fide"])),
            count(int(row["n_synthetic"])),
        ]
        for row in rows
    ]
    plot = interval_plot(
        [PlotRow(row["probe"], _estimate(row)) for row in rows[:SHOWN]],
        figure_id=figure_id,
        title=f"Shortcut probes, {pair}",
        unit="",
        anchors=[Anchor("unfair above", limit)],
    )
    caption = f"The {min(SHOWN, len(rows))} probes that tell the classes apart best; 0.5 is chance."
    return [
        Prose(text, "warning" if unfair else "plain"),
        Figure(svg=plot, caption=caption),
        Table(caption=f"Shortcut audit: {pair}", columns=columns, rows=cells, folded=True),
    ]
