"""Whether generated files say of themselves that they are synthetic, and still do after what happens to files.

The comment tag of each clip is read back: from the file as it is, and after it was copied byte by byte, cut in half, or
written anew in another form by a program that carries the sound alone (libsndfile).
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from reports.context import GENERATED_ROLES, Context
from reports.estimates import Estimate, ratio
from reports.frames import columns, rows_where

__all__ = ["HANDLING", "surviving_shares", "tagged_share"]

MOST_FILES = 500
"""Files opened at most, evenly chosen: a header read each."""


MOST_HANDLED = 40
"""Files that are written anew per kind of handling."""
MOST_FRAMES = 2_000_000
"""Of a clip, what is written anew."""
HANDLING = {"copied": "", "cut in half": "WAV", "written as FLAC": "FLAC", "as Ogg Vorbis": "OGG", "as MP3": "MP3"}
"""What is done to a clip, and the format that it is then written in; none: the bytes as they are."""


def tagged_share(context: Context) -> tuple[Estimate | None, list[str]]:
    """Share of generated clips whose WAV comment names the system and the role, and items without such a tag."""
    found, bare = [], []
    for row in _made(context, MOST_FILES):
        tagged = _tagged(context, str(row["audio_path"]), str(row["role"]))
        if tagged is None:
            continue
        found.append({**row, "numerator": float(tagged), "denominator": 1.0})
        if not tagged:
            bare.append(str(row["item_id"]))
    return _share(found), bare


def surviving_shares(context: Context) -> dict[str, Estimate | None]:
    """By key of ``HANDLING``: of the tagged clips, the share whose tag is still there after it."""
    found: dict[str, list[dict[str, object]]] = {handling: [] for handling in HANDLING}
    for row in _made(context, MOST_HANDLED):
        path = _inside(context, str(row["audio_path"]))
        if path is None or not _tagged(context, str(row["audio_path"]), str(row["role"])):
            continue
        try:
            kept = {handling: _says_so(clip, str(row["role"])) for handling, clip in _handled(path).items()}
        except (sf.LibsndfileError, RuntimeError, OSError):
            continue
        for handling, says_so in kept.items():
            found[handling].append({**row, "numerator": float(says_so), "denominator": 1.0})
    return {handling: _share(rows) for handling, rows in found.items()}


def _made(context: Context, most: int) -> list[dict[str, object]]:
    """Generated clips that have a file, at most ``most``, evenly chosen."""
    items = context.run.generations
    made = rows_where(
        items, (items["status"] == "ok") & items["role"].isin(GENERATED_ROLES) & (items["audio_path"] != "")
    )
    made = rows_where(made, made["role"] != "recorded").sort_values("item_id")
    if len(made) > most:
        made = made.iloc[np.linspace(0, len(made) - 1, most).round().astype(int)]
    return [{str(key): value for key, value in row.items()} for row in made.to_dict("records")]


def _share(found: list[dict[str, object]]) -> Estimate | None:
    names = ["item_id", "utterance_id", "speaker_id", "numerator", "denominator"]
    return ratio(columns(pd.DataFrame(found), names)) if found else None


def _inside(context: Context, relative: str) -> Path | None:
    folder = context.run.folder.resolve()
    path = (folder / relative).resolve()
    return path if path.is_relative_to(folder) and path.is_file() else None


def _tagged(context: Context, relative: str, role: str) -> bool | None:
    """None where the file cannot be opened, which is another fault than a missing tag."""
    path = _inside(context, relative)
    if path is None:
        return None
    try:
        return _says_so(path, role)
    except (sf.LibsndfileError, RuntimeError, OSError):
        return None


def _says_so(source: Path | io.BytesIO, role: str) -> bool:
    with sf.SoundFile(source) as file:
        comment = file.comment or "{}"
    try:
        said = json.loads(comment)
    except (ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.get("role") == role and bool(said.get("system"))


def _handled(path: Path) -> dict[str, io.BytesIO]:
    """The clip after each kind of handling."""
    samples, rate = sf.read(path, frames=MOST_FRAMES, dtype="float32", always_2d=True)
    handled = {}
    for handling, container in HANDLING.items():
        handled[handling] = io.BytesIO(b"" if container else path.read_bytes())
        if container:
            kept = samples[: len(samples) // 2] if handling == "cut in half" else samples
            sf.write(handled[handling], kept, rate, format=container)
            handled[handling].seek(0)
    return handled
