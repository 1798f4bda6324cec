"""The impersonation matrix: whose prompt, whose continuation, how alike the voices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from reports.artefacts import MeasureInfo
from reports.blocks import Cell, Column, Prose, Table
from reports.context import Context
from reports.formats import MISSING, isolate, number_text
from reports.frames import column, columns, rows_where
from reports.tables import unit_of

__all__ = ["impersonation_blocks", "pair_frame"]

MOST_VOICES = 12
"""More voices than this are joined by the first audit axis instead: a wider matrix cannot be read."""


def pair_frame(context: Context, measure: MeasureInfo) -> pd.DataFrame:
    """``target`` (speaker of the prompt), ``voice`` (whose continuation is judged), ``value``, one row per trial.

    Own trials are continuations, foreign ones come from role ``shuffled``, whose audio file says whose it is.
    """
    items = context.run.generations
    ok = rows_where(items, items["status"] == "ok")
    owner = dict(
        zip(
            column(rows_where(ok, ok["role"] == "continuation"), "audio_path"),
            column(rows_where(ok, ok["role"] == "continuation"), "speaker_id"),
            strict=True,
        )
    )
    trials = []
    for role in ("continuation", "shuffled"):
        values = context.items(measure, role)
        made = columns(rows_where(ok, ok["role"] == role), ["item_id", "audio_path"])
        joined = values.merge(made, on="item_id", how="inner")
        trials.append(joined.assign(voice=joined["audio_path"].map(owner), value=joined["numerator"]))
    found = pd.concat(trials, ignore_index=True).rename(columns={"speaker_id": "target"})
    found = rows_where(found, found["voice"].notna() & (found["target"] != "") & (found["voice"] != ""))
    return columns(found, ["target", "voice", "value"]).reset_index(drop=True)


def impersonation_blocks(context: Context, similarity: MeasureInfo, accepted: MeasureInfo) -> list[object]:
    """Matrices of likeness and of acceptance; by speaker where that can be read, else by audit axis."""
    likeness, acceptance = pair_frame(context, similarity), pair_frame(context, accepted)
    if not len(likeness):
        return [Prose("Impersonation matrix: not measured, since no trial names both voices.", "small")]
    voices = sorted(set(likeness["target"]) | set(likeness["voice"]))
    what = "speaker"
    if len(voices) > MOST_VOICES:
        axis = next((name for name in context.run.group_names if 2 <= len(context.groups_of(name)) <= MOST_VOICES), "")
        if not axis:
            text = f"Impersonation matrix: {len(voices)} voices are too many to print and no audit axis joins them."
            return [Prose(text, "small")]
        groups = _groups(context, axis)
        likeness, acceptance = _joined(likeness, groups), _joined(acceptance, groups)
        voices = sorted(set(likeness["target"]) | set(likeness["voice"]))
        what = axis
    caption = f"Impersonation matrix by {isolate(what)}: likeness of the voice, and share accepted"
    return [_matrix(likeness, acceptance, voices, caption, unit_of(similarity))]


def _groups(context: Context, axis: str) -> dict[str, str]:
    items = context.run.generations
    return dict(zip(items["speaker_id"], items[f"group:{axis}"], strict=True))


def _joined(frame: pd.DataFrame, groups: dict[str, str]) -> pd.DataFrame:
    frame = frame.assign(target=frame["target"].map(groups), voice=frame["voice"].map(groups))
    return rows_where(frame, (frame["target"] != "") & (frame["voice"] != "")).dropna()


def _matrix(likeness: pd.DataFrame, acceptance: pd.DataFrame, voices: Sequence[str], caption: str, unit: str) -> Table:
    """Rows: who is imitated. Columns: whose prompt the continuation was made from."""
    mean = likeness.groupby(["target", "voice"])["value"].agg(["mean", "size"])
    share: dict[Any, float] = pd.Series(acceptance.groupby(["target", "voice"])["value"].mean()).to_dict()
    rows = []
    for target in voices:
        row = [Cell(target, "foreign")]
        for voice in voices:
            if (target, voice) not in mean.index:
                row.append(Cell(MISSING, "number"))
                continue
            value, size = float(mean.at[(target, voice), "mean"]), int(mean.at[(target, voice), "size"])
            taken = share.get((target, voice))
            text = number_text(value, unit) + ("" if taken is None else f" / {number_text(float(taken), 'share')}")
            row.append(Cell(f"{text} ({size})", "number", f"{value:.6g}"))
        rows.append(row)
    columns_ = [Column("Voice imitated"), *(Column(f"from {isolate(voice)}", "number") for voice in voices)]
    note = (
        "Each cell: mean likeness / share accepted (trials). On the diagonal the continuation was made from that"
        " voice's own prompt; elsewhere from the column's prompt. A diagonal no higher than its row carries no voice"
        f" over. {MISSING}: no trial."
    )
    return Table(caption=caption, columns=columns_, rows=rows, note=note, folded=len(voices) > 6)
