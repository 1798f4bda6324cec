"""Every item with all its scores as one compact object for the page's item browser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from reports.artefacts import MeasureInfo
from reports.context import ROLE_TITLES, Context
from reports.formats import clean, is_percent
from reports.frames import rows_where
from reports.tables import unit_of
from reports.transcripts import Word

__all__ = ["ScoreColumn", "item_payload", "problems_of", "score_columns", "script_safe"]

UNSAFE = {ord(mark): f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"}
DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreColumn:
    """A measure with its value per item, ``[item]`` in the order of the page, NaN where there is none."""

    measure: MeasureInfo
    values: np.ndarray

    @property
    def unit(self) -> str:
        return unit_of(self.measure)


def score_columns(context: Context, items: pd.DataFrame) -> list[ScoreColumn]:
    """Every measure with a value for some item; counts that only serve a ratio are left out."""
    place = pd.Index(items["item_id"])
    found = []
    scores = context.run.scores
    ok = rows_where(scores, scores["status"] == "ok")
    by_scorer = {str(name): rows for name, rows in ok.groupby("scorer", sort=False)}
    for measure in context.run.measures:
        own = by_scorer.get(measure.scorer)
        if own is None or measure.aggregate == "none":
            continue
        if measure.aggregate == "ratio_of_sums":
            top, bottom = (_spread(own, name, place) for name in (measure.numerator, measure.denominator))
            with np.errstate(invalid="ignore", divide="ignore"):
                values = np.where(bottom > 0, top / bottom, np.nan)
        else:
            values = _spread(own, measure.measure, place)
        if np.isfinite(values).any():
            found.append(ScoreColumn(measure=measure, values=values))
    return found


def _spread(scores: pd.DataFrame, measure: str, place: pd.Index) -> np.ndarray:
    rows = rows_where(scores, scores["measure"] == measure).drop_duplicates("item_id")
    at = place.get_indexer(pd.Index(rows["item_id"]))
    values = np.full(len(place), np.nan)
    values[at[at >= 0]] = rows["value"].to_numpy(dtype=np.float64)[at >= 0]
    return values


def problems_of(scores: pd.DataFrame) -> dict[str, str]:
    """Per item: every scorer that failed or skipped it, with the reason."""
    bad = rows_where(scores, scores["status"] != "ok").drop_duplicates(["item_id", "scorer", "status", "reason"])
    text = bad["scorer"] + " " + bad["status"] + ": " + bad["reason"]
    return text.groupby(bad["item_id"]).agg("; ".join).to_dict() if len(bad) else {}


def item_payload(
    context: Context,
    items: pd.DataFrame,
    columns: Sequence[ScoreColumn],
    reasons: Sequence[str],
    alignments: Mapping[str, tuple[Word, ...]],
    clips: Mapping[str, tuple[str, str]],
    leading: Sequence[tuple[str, str]],
) -> str:
    """JSON for a script element: columns of equal length, texts once and referred to by number.

    ``clips``: item id to the clip and the spectrogram inside the page. ``leading``: measures shown from the start.
    """
    names = [str(name) for name in items["item_id"]]
    position = {name: number for number, name in enumerate(names)}
    value: dict[str, Any] = {
        "items": [clean(name) for name in names],
        "texts": {
            "role": _coded(items["role"]),
            "speaker": _coded(items["speaker_id"]),
            "status": _coded(items["status"]),
            "reason": _coded(pd.Series(list(reasons))),
            "transcript": _coded(items["transcript"]),
        },
        "groups": {clean(axis): _coded(items[f"group:{axis}"]) for axis in context.run.group_names},
        "roles": {role: ROLE_TITLES.get(role, role) for role in context.roles},
        "seconds": [_number(number) for number in items["duration_s"]],
        "href": [_href(path, status) for path, status in zip(items["audio_path"], items["status"], strict=True)],
        "columns": [
            {
                "label": clean(column.measure.label),
                "scorer": clean(column.measure.scorer),
                "unit": "%" if is_percent(column.unit) else clean(column.unit),
                "percent": is_percent(column.unit),
                "shown": column.measure.key in leading,
                "values": [_number(number) for number in column.values],
            }
            for column in columns
        ],
        "words": {
            position[name]: [list(map(clean, word)) for word in words]
            for name, words in alignments.items()
            if name in position
        },
        "clips": {position[name]: list(pair) for name, pair in clips.items() if name in position},
    }
    return script_safe(value)


def script_safe(value: object) -> str:
    """JSON that can stand inside a script element: no character that could end it or start a comment."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).translate(UNSAFE)


def _coded(column: pd.Series) -> dict[str, Any]:
    codes, values = pd.factorize(column.astype(object))
    return {"values": [clean(text) for text in values], "codes": codes.tolist()}


def _number(value: float) -> float | None:
    return None if value != value else float(f"{value:.{DIGITS}g}")


def _href(path: str, status: str) -> str:
    parts = PurePosixPath(path).parts
    if status != "ok" or not path or path.startswith("/") or ".." in parts:
        return ""
    return quote(PurePosixPath(path).as_posix())
