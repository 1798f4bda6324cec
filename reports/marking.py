"""Whether generated files say of themselves that they are synthetic: the comment tag of each clip, read back."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import soundfile as sf

from reports.context import GENERATED_ROLES, Context
from reports.estimates import Estimate, ratio
from reports.frames import columns, rows_where

__all__ = ["tagged_share"]

MOST_FILES = 500
"""Files opened at most, evenly chosen: a header read each."""


def tagged_share(context: Context) -> tuple[Estimate | None, list[str]]:
    """Share of generated clips whose WAV comment names the system and the role, and items without such a tag."""
    items = context.run.generations
    made = rows_where(
        items, (items["status"] == "ok") & items["role"].isin(GENERATED_ROLES) & (items["audio_path"] != "")
    )
    made = rows_where(made, made["role"] != "recorded").sort_values("item_id")
    if len(made) > MOST_FILES:
        made = made.iloc[np.linspace(0, len(made) - 1, MOST_FILES).round().astype(int)]
    found, bare = [], []
    for row in made.to_dict("records"):
        tagged = _tagged(context, str(row["audio_path"]), str(row["role"]))
        if tagged is None:
            continue
        found.append({**row, "numerator": float(tagged), "denominator": 1.0})
        if not tagged:
            bare.append(str(row["item_id"]))
    if not found:
        return None, []
    names = ["item_id", "utterance_id", "speaker_id", "numerator", "denominator"]
    return ratio(columns(pd.DataFrame(found), names)), bare


def _tagged(context: Context, relative: str, role: str) -> bool | None:
    """None where the file cannot be opened, which is another fault than a missing tag."""
    folder = context.run.folder.resolve()
    path = (folder / relative).resolve()
    if not path.is_relative_to(folder) or not path.is_file():
        return None
    try:
        with sf.SoundFile(path) as file:
            comment = json.loads(file.comment or "{}")
    except (sf.LibsndfileError, RuntimeError, OSError):
        return None
    except ValueError:
        return False
    return isinstance(comment, dict) and comment.get("role") == role and bool(comment.get("system"))
