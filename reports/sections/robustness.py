"""Prompts as they come in the world, and how generation fails: what the run shows, and what it does not."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from reports.blocks import Cell, Column, NotMeasured, Prose, Table
from reports.chapters import evidence
from reports.context import GENERATED_ROLES, ROLE_TITLES, Context
from reports.estimates import Estimate, ratio
from reports.formats import with_interval
from reports.frames import column, columns, rows_where
from reports.sections import Section
from reports.tables import estimate_cells, estimate_columns, role_table

SHORT_OF = 0.9
"""A clip shorter than this share of what was asked for stopped early."""


def build(context: Context) -> Sequence[object]:
    blocks: list[object] = [
        Prose("How generation failed in this run, counted over the clips that exist; lost clips stand under Items.")
    ]
    rows, early = [], pd.DataFrame({"item_id": []})
    for role in (role for role in GENERATED_ROLES if context.has_role(role)):
        frame = _early_stops(context, role)
        if frame is not None and len(frame):
            rows.append(
                [Cell(ROLE_TITLES.get(role, role)), Cell("stopped early"), *estimate_cells(ratio(frame), "share")]
            )
            early = pd.concat([early, rows_where(frame, frame["numerator"] > 0)], ignore_index=True)
    if rows:
        note = f"Stopped early: shorter than {SHORT_OF:.0%} of the length that was asked for."
        blocks.append(Table(caption="Length", columns=estimate_columns("Role", "Failure"), rows=rows, note=note))
    measures = context.measures_for("failure")
    if measures:
        blocks.append(role_table(context, measures, "Loops, silence and clips without speech"))
    if len(early):
        blocks += evidence(context, "Clips that stopped early", early, None, limit=2)
    grid = context.measures_for("robustness")
    if grid:
        blocks.append(role_table(context, grid, "Under disturbance"))
    missing = [
        "" if grid else "Disturbed prompts: noise, clipping, telephone band, other languages, music, silence.",
        "Very short and very long prompts, and drift of a voice over minutes.",
        "Prompts made to break the system.",
        "" if grid else "The detector under re-encoding, noise and re-recording: see detect-eval for its own grid.",
        "Other temperatures: the run uses one setting.",
    ]
    return [*blocks, *_lost(context), NotMeasured([point for point in missing if point])]


def _early_stops(context: Context, role: str) -> pd.DataFrame | None:
    """Items of a role with numerator 1 where the clip is shorter than asked; None where the length is not known."""
    config = context.run.info.get("config")
    asked = config.get("seconds") if isinstance(config, dict) and role in ("continuation", "unconditional") else None
    items = context.rows_of(context.run.generations, role)
    items = rows_where(items, items["status"] == "ok")
    if not isinstance(asked, (int, float)) or asked <= 0 or not len(items):
        return None
    short = (column(items, "duration_s") < SHORT_OF * float(asked)).astype(float)
    frame = columns(items, ["item_id", "utterance_id", "speaker_id"])
    return frame.assign(numerator=short, denominator=1.0).reset_index(drop=True)


def _lost(context: Context) -> list[object]:
    """Clips that were asked for and do not exist, by role."""
    items = context.run.generations
    rows = []
    for role in (role for role in GENERATED_ROLES if context.has_role(role)):
        own = rows_where(items, items["role"] == role)
        tried = rows_where(own, own["status"] != "skipped")
        failed = int((own["status"] == "failed").sum())
        share = failed / len(tried) if len(tried) else float("nan")
        estimate = Estimate(estimate=share, no_interval="a count of this run", n_items=len(tried),
                            n_speakers=int(tried["speaker_id"].nunique()))  # fmt: skip
        if estimate.known:
            rows.append([Cell(ROLE_TITLES.get(role, role)), Cell(with_interval(estimate, "share"))])
    names = [Column("Role"), Column("Generation failed")]
    return [Table(caption="Clips that could not be made", columns=names, rows=rows)] if rows else []


def _nothing(context: Context) -> str:
    return "" if context.generated_role else "the run holds no generated clip"


SECTION = Section(
    section_id="robustness",
    title="Robustness and failure modes",
    part="measurements",
    order=7,
    build=build,
    condition=_nothing,
)
