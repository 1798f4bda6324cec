"""Evidence that plays: chosen clips inside the page as FLAC, the others linked beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import numpy as np
import pandas as pd
import soundfile as sf

from reports.artefacts import Run
from reports.blocks import Clip
from reports.spectrograms import spectrogram_png

__all__ = ["EMBEDDED_CLIPS", "ClipDesk"]

EMBEDDED_CLIPS = 24
"""How many clips travel inside the page; more are linked to the run folder."""

EMBEDDED_SECONDS = 20.0
"""Longer clips are linked: a minute of 16 kHz FLAC is about 1.5 MB as base64."""


@dataclass(slots=True)
class ClipDesk:
    """Hands out players; each clip is embedded once and referred to afterwards."""

    run: Run
    limit: int | None = None
    """How many clips may be embedded; None for :data:`EMBEDDED_CLIPS`."""
    embedded: int = 0
    issued: dict[str, Clip] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)
    """Anchors of the players that chapters hold."""

    def clips(self, item_ids: Iterable[str], facts: Mapping[str, Sequence[str]] | None = None) -> list[Clip]:
        """Players for items in the given order; ids the run does not know are left out."""
        items = self.run.generations
        found = []
        for item_id in dict.fromkeys(item_ids):
            rows = items[items["item_id"] == item_id]
            if len(rows):
                clip = self._clip(rows.iloc[0], tuple((facts or {}).get(item_id, ())))
                self.shown.add(clip.anchor)
                found.append(clip)
        return found

    def fill(self, item_ids: Iterable[str]) -> None:
        """Embed further clips in the given order until the budget is used up."""
        if self.embedded >= self._limit:
            return
        items = self.run.generations.drop_duplicates("item_id").set_index("item_id", drop=False)
        for item_id in item_ids:
            if self.embedded >= self._limit:
                return
            if item_id not in self.issued:
                self._clip(items.loc[item_id], ())

    def embedded_uris(self) -> dict[str, tuple[str, str]]:
        """Item id to clip and spectrogram, where the clip travels inside the page; a clip that stands in a chapter is
        named by its anchor, so that it travels once."""
        found = {}
        for item_id, clip in self.issued.items():
            if clip.audio_uri:
                found[item_id] = (
                    (f"#{clip.anchor}", "") if clip.anchor in self.shown else (clip.audio_uri, clip.image_uri)
                )
        return found

    @property
    def _limit(self) -> int:
        return EMBEDDED_CLIPS if self.limit is None else self.limit

    def _clip(self, row: pd.Series, facts: Sequence[str]) -> Clip:
        item_id = str(row["item_id"])
        if item_id in self.issued:
            return replace(self.issued[item_id], first=False, facts=facts)
        clip = self._open(row, facts)
        self.issued[item_id] = clip
        return clip

    def _open(self, row: pd.Series, facts: Sequence[str]) -> Clip:
        blank = Clip(
            item_id=str(row["item_id"]),
            anchor=f"clip-{len(self.issued) + 1}",
            role=str(row["role"]),
            facts=facts,
            transcript=str(row["transcript"]),
        )
        status, reason = str(row["status"]), str(row["reason"])
        if status != "ok" or not str(row["audio_path"]):
            return replace(blank, problem=f"no clip: {status}{', ' + reason if reason else ''}")
        path = _inside(self.run.folder, str(row["audio_path"]))
        if path is None:
            return replace(blank, problem="the path of this clip leaves the run folder, so it is not opened")
        if not path.is_file():
            return replace(blank, problem="the file is missing from the run folder")
        href = quote(PurePosixPath(str(row["audio_path"])).as_posix())
        try:
            if sf.info(str(path)).duration > EMBEDDED_SECONDS or self.embedded >= self._limit:
                return replace(blank, href=href, problem="linked, not embedded: the file lies beside this page")
            samples, rate = sf.read(path, dtype="int16", always_2d=True)
        except (sf.LibsndfileError, RuntimeError) as error:
            return replace(blank, href=href, problem=f"the file cannot be decoded ({error})")
        self.embedded += 1
        mono = samples[:, 0]
        return replace(
            blank,
            href=href,
            audio_uri=_data_uri("audio/flac", _flac(mono, rate)),
            image_uri=_data_uri("image/png", spectrogram_png(mono.astype(np.float32) / 32768.0, rate)),
            image_alt=(
                f"Spectrogram of {row['item_id']}: {len(mono) / rate:.2f} seconds from left to right,"
                f" 0 to {min(rate / 2, 8000) / 1000:g} kilohertz upwards, louder is brighter"
            ),
        )


def _inside(folder: Path, relative: str) -> Path | None:
    """The file, if the path is relative and stays in the run folder."""
    if Path(relative).is_absolute() or ".." in PurePosixPath(relative).parts or "\x00" in relative:
        return None
    path = (folder / relative).resolve()
    return path if path.is_relative_to(folder.resolve()) else None


def _flac(samples: np.ndarray, rate: int) -> bytes:
    """Lossless: what plays in the page is what was scored. Every current browser decodes FLAC."""
    buffer = io.BytesIO()
    sf.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
