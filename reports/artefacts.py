"""Open a run folder: every file checked at the door, every complaint one sentence that names file and remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from reports.frames import column

__all__ = ["SCHEMA_VERSION", "MeasureInfo", "Run", "open_run"]

SCHEMA_VERSION = 1
"""The run-folder layout this package reads (``docs/architecture.md``)."""

GENERATION_TEXT = (
    "item_id",
    "utterance_id",
    "speaker_id",
    "system",
    "role",
    "audio_path",
    "origin",
    "status",
    "reason",
)
GENERATION_NUMBERS = ("seed", "sample_rate_hz", "duration_s", "prompt_s", "wall_s")
GENERATION_COLUMNS = (*GENERATION_TEXT, *GENERATION_NUMBERS, "transcript", "content_sha256", "config_sha256")
SCORE_TEXT = (
    "run_id", "item_id", "utterance_id", "speaker_id", "system", "role", "scorer", "measure", "status", "reason",
    "scorer_version",
)  # fmt: skip
SCORE_COLUMNS = ("schema_version", *SCORE_TEXT, "value")
SUMMARY_TEXT = ("system", "role", "group_by", "group", "scorer", "measure", "method")
SUMMARY_NUMBERS = ("estimate", "ci_low", "ci_high", "confidence", "n_items", "n_speakers", "n_skipped", "n_failed")
SUMMARY_COLUMNS = (*SUMMARY_TEXT, *SUMMARY_NUMBERS)
CURVE_KEYS = ("detector", "bona_fide", "synthetic", "p_false_alarm", "p_miss", "eer", "n_bona_fide", "n_synthetic")
NOWHERE = np.empty(0, dtype=np.int64)
STATUSES = ("ok", "skipped", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureInfo:
    """One entry of ``measures.json``; the meaning of the fields is that of the harness's ``Measure``."""

    scorer: str
    measure: str
    scorer_title: str = ""
    title: str = ""
    unit: str = ""
    direction: str = "none"
    meaning: str = ""
    source: str = ""
    low: float | None = None
    high: float | None = None
    aggregate: str = "mean"
    numerator: str = ""
    denominator: str = ""
    protocol: Any = ""

    @property
    def key(self) -> tuple[str, str]:
        return (self.scorer, self.measure)

    @property
    def label(self) -> str:
        return self.title or self.measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run folder in memory: ``info`` is ``run.json``, the frames are the tables, text columns hold ``str``."""

    folder: Path
    info: Mapping[str, Any]
    generations: pd.DataFrame
    scores: pd.DataFrame
    measures: tuple[MeasureInfo, ...]
    summary: pd.DataFrame
    curves: tuple[Mapping[str, Any], ...]
    shortcuts: tuple[Mapping[str, Any], ...] = ()
    """Per pair of classes, how well single numbers about the recordings tell them apart."""
    places: dict[tuple[str, str, str], np.ndarray] = field(default_factory=dict, repr=False)
    """Rows of ``scores`` by scorer, measure and role; filled at the first look-up."""

    def score_rows(self, scorer: str, measure: str, role: str) -> pd.DataFrame:
        """The scores of one measure in one role, whatever their status."""
        if not self.places and len(self.scores):
            found: Any = self.scores.groupby(["scorer", "measure", "role"], sort=False, observed=True).indices
            self.places.update(found)
        return self.scores.take(self.places.get((scorer, measure, role), NOWHERE))

    @property
    def group_names(self) -> tuple[str, ...]:
        """Audit axes that the manifest brought, e.g. ``gender``; empty where it had none."""
        return tuple(name.removeprefix("group:") for name in self.generations.columns if name.startswith("group:"))


def open_run(folder: Path) -> Run:
    """Read and check all tables of a finished run.

    Raises:
        ValueError: a file is missing, truncated, of another schema version, or lacks a column.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: is not a run folder; name the folder that holds run.json")
    info = _read_json(folder / "run.json")
    if not isinstance(info, dict):
        raise ValueError(f"{folder / 'run.json'}: holds {type(info).__name__}, not an object; run the audit again")
    _check_version(folder / "run.json", info.get("schema_version"))
    generations = _read_table(folder / "generations.parquet", GENERATION_COLUMNS, (*GENERATION_TEXT, "transcript"))
    if not len(generations):
        raise ValueError(
            f"{folder / 'generations.parquet'}: holds no item, so there is nothing to report; run the audit"
        )
    scores = _read_table(folder / "scores.parquet", SCORE_COLUMNS, SCORE_TEXT)
    for version in sorted(set(scores["schema_version"].tolist())):
        _check_version(folder / "scores.parquet", version)
    for name, frame in (("generations.parquet", generations), ("scores.parquet", scores)):
        strange = sorted(set(frame["status"]) - set(STATUSES))
        if strange:
            raise ValueError(
                f"{folder / name}: unknown status {strange[0]!r}; a status is one of {', '.join(STATUSES)}"
            )
    return Run(
        folder=folder,
        info=info,
        generations=_numbers(folder / "generations.parquet", generations, GENERATION_NUMBERS),
        scores=_numbers(folder / "scores.parquet", scores, ("value",)),
        measures=_read_measures(folder / "measures.json"),
        summary=_numbers(
            folder / "summary.parquet",
            _read_table(folder / "summary.parquet", SUMMARY_COLUMNS, SUMMARY_TEXT),
            SUMMARY_NUMBERS,
        ),
        curves=_read_curves(folder / "curves.json"),
        shortcuts=_read_shortcuts(folder / "curves.json"),
    )


def _check_version(path: Path, version: object) -> None:
    if not isinstance(version, (int, float)) or isinstance(version, bool):
        raise ValueError(f"{path}: states no schema version; run the audit again with this version of the package")
    if version != SCHEMA_VERSION:
        age = "newer" if version > SCHEMA_VERSION else "older"
        raise ValueError(
            f"{path}: schema version {version:g} is {age} than the {SCHEMA_VERSION} read here;"
            " use the package version that made the run"
        )


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"{path}: missing from the run folder; finish the run with --resume")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: is truncated or not JSON ({error}); finish the run with --resume") from error


def _read_table(path: Path, columns: Sequence[str], text: Sequence[str]) -> pd.DataFrame:
    parts = [path] if path.is_file() else sorted(path.with_suffix("").glob("part-*.parquet"))
    if not parts:
        raise ValueError(f"{path}: missing from the run folder; finish the run with --resume")
    try:
        table = pa.concat_tables([pq.read_table(part) for part in parts], promote_options="default")
    except (pa.ArrowInvalid, OSError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: is truncated or not Parquet ({first_line}); finish the run with --resume") from error
    absent = [name for name in columns if name not in table.column_names]
    if absent:
        raise ValueError(f"{path}: lacks the column {absent[0]!r}; make it again with this version of the package")
    named = [*text, *(name for name in table.column_names if name.startswith("group:"))]
    frame = table.drop_columns(named).to_pandas()
    frame = frame.assign(**{name: pd.Series(_texts(table.column(name)), dtype=object) for name in named})
    frame = cast(pd.DataFrame, frame[table.column_names])
    return frame.reset_index(drop=True)


def _texts(column: pa.ChunkedArray) -> np.ndarray:
    """Strings as Python objects, each distinct one once in memory; what is missing becomes the empty string."""
    codes = column.combine_chunks()
    codes = codes if pa.types.is_dictionary(codes.type) else codes.dictionary_encode()
    words = ["" if word is None or word != word else str(word) for word in codes.dictionary.to_pylist()]
    at = codes.indices.fill_null(len(words)).to_numpy(zero_copy_only=False)
    return np.array([*words, ""], dtype=object)[at]


def _numbers(path: Path, frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    for name in columns:
        try:
            frame[name] = column(frame, name).astype("float64")
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: column {name!r} holds something that is no number ({error})") from error
    return frame


def _read_measures(path: Path) -> tuple[MeasureInfo, ...]:
    entries = _read_json(path)
    if not isinstance(entries, list):
        raise ValueError(f"{path}: holds {type(entries).__name__}, not a list of measures; run the audit again")
    known = set(MeasureInfo.__dataclass_fields__)
    measures = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not entry.get("scorer") or not entry.get("measure"):
            raise ValueError(f"{path}: entry {number} names no scorer and measure; run the audit again")
        fields = {key: value for key, value in entry.items() if key in known and value is not None}
        measures.append(MeasureInfo(**fields))
    return tuple(measures)


def _read_curves(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Detection curves; a run without a detector has none, with or without the file."""
    if not path.exists():
        return ()
    content = _read_json(path)
    curves = content.get("det", []) if isinstance(content, dict) else None
    if not isinstance(curves, list):
        raise ValueError(f"{path}: holds no list named 'det'; run the audit again")
    for number, curve in enumerate(curves):
        absent = [key for key in CURVE_KEYS if not isinstance(curve, dict) or key not in curve]
        if absent:
            raise ValueError(f"{path}: curve {number} lacks {absent[0]!r}; run the audit again")
        if len(curve["p_false_alarm"]) != len(curve["p_miss"]):
            raise ValueError(f"{path}: curve {number} has axes of different length; run the audit again")
    return tuple(curves)


def _read_shortcuts(path: Path) -> tuple[Mapping[str, Any], ...]:
    """The shortcut audits beside the curves; earlier runs have none."""
    content = _read_json(path) if path.exists() else {}
    audits = content.get("shortcuts", []) if isinstance(content, dict) else []
    for number, audit in enumerate(audits):
        if not isinstance(audit, dict) or not {"bona_fide", "synthetic", "limit", "probes"} <= set(audit):
            raise ValueError(f"{path}: shortcut audit {number} lacks its classes or probes; run the audit again")
    return tuple(audits)
