"""One measure item by item, as numerator and denominator, from a run's tables; what comparisons and slices work on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evaluation.table_queries import rows_where

__all__ = ["find_measure", "item_values", "speaker_sums"]


def find_measure(measures: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """The entry of ``measures.json`` called ``scorer/measure``, or ``measure`` where one scorer has it.

    Raises:
        ValueError: none or several, or one that is not summarised.
    """
    scorer, _, measure = name.rpartition("/")
    found = [e for e in measures if e["measure"] == measure and scorer in ("", e["scorer"])]
    found = [e for e in found if e["aggregate"] in ("mean", "ratio_of_sums")]
    if len(found) == 1:
        return found[0]
    known = sorted(f"{e['scorer']}/{e['measure']}" for e in measures if e["aggregate"] in ("mean", "ratio_of_sums"))
    several = [f"{e['scorer']}/{e['measure']}" for e in found]
    raise ValueError(f"measure {name!r} is {'one of ' + ', '.join(several) if several else 'not in this run'};"
                     f" name one of {', '.join(several or known)}")  # fmt: skip


def item_values(scores: pd.DataFrame, entry: Mapping[str, Any], role: str) -> pd.DataFrame:
    """Columns ``utterance_id, speaker_id, status, above, below`` of every item of a role; NaN unless status is ok."""
    ratio = entry["aggregate"] == "ratio_of_sums"
    name = entry["numerator"] if ratio else entry["measure"]
    rows = rows_where(scores, scorer=entry["scorer"], role=role, measure=name)
    frame = rows.loc[:, ["item_id", "utterance_id", "speaker_id", "status", "value"]].rename(columns={"value": "above"})
    if not ratio:
        return frame.assign(below=np.where(frame["status"] == "ok", 1.0, np.nan)).reset_index(drop=True)
    below = rows_where(scores, scorer=entry["scorer"], role=role, measure=entry["denominator"])
    below = below.loc[:, ["item_id", "value"]].rename(columns={"value": "below"})
    return frame.merge(below, on="item_id", how="left").reset_index(drop=True)


def speaker_sums(frame: pd.DataFrame, speakers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sums of ``above`` and ``below`` over items with both, each ``[speaker]`` in the order given."""
    kept = frame[np.isfinite(frame["above"]) & np.isfinite(frame["below"])]
    place = {name: index for index, name in enumerate(speakers)}
    index = [place[name] for name in kept["speaker_id"]]
    return (
        np.bincount(index, weights=kept["above"], minlength=len(speakers)),
        np.bincount(index, weights=kept["below"], minlength=len(speakers)),
    )
