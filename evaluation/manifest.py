"""Prompts from a manifest, a corpus tree or a folder: one list of utterances, nothing dropped in silence.

What makes the whole source unusable is one ValueError with everything that is wrong in it. What makes one
row unusable is written into that row's ``problem``, and the row stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from evaluation.corpus_trees import read_tree
from evaluation.records import ORIGINS, Utterance
from evaluation.splits import limit_round_robin
from evaluation.table_rows import RawRow, read_rows

__all__ = ["MANIFEST_NAMES", "prompts_origin", "read_utterances"]

MANIFEST_NAMES = ("manifest.csv", "manifest.jsonl", "manifest.parquet")
"""A folder holding one of these is read through it."""

COLUMN_NAMES = {
    "utterance_id": ("utterance_id", "id", "utt_id"),
    "audio_path": ("audio_path", "path", "audio_filepath"),
    "transcript": ("transcript", "text", "sentence"),
    "speaker_id": ("speaker_id", "speaker", "client_id"),
    "split": ("split",),
    "kind": ("kind",),
    "licence": ("licence", "license"),
    "origin": ("origin",),
    "duration_s": ("duration_s", "duration"),
}
REQUIRED_COLUMNS = ("utterance_id", "audio_path")
GROUP_COLUMNS = {
    "gender": ("gender", "sex"),
    "accent": ("accent", "accents"),
    "age": ("age",),
    "language": ("language", "lang", "locale"),
}
RECORDING_COLUMNS = frozenset({"kind", "licence", "source_repo"})
"""A manifest with these documents recordings taken from published corpora: their origin is human."""


def read_utterances(
    source: str | Path, *, split: str | None = None, limit: int | None = None, kind: str = "speech"
) -> list[Utterance]:
    """Read prompts from a CSV, JSON lines or Parquet manifest, a LibriSpeech, Libri-Light or VCTK tree, or a folder.

    ``split`` keeps the rows whose split column equals it; ``kind`` applies to manifests with such a column;
    ``limit`` keeps that many utterances, taking speakers in turn so that few still cover many speakers.

    Raises:
        ValueError: nothing there, unreadable, a required column is missing, or nothing is left after filtering.
    """
    source = Path(source)
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; keep at least 1 utterance")
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder; name a manifest, a corpus tree or a folder of audio")
    manifest = _manifest_of(source)
    utterances = _from_manifest(manifest, kind) if manifest else read_tree(source)
    if split is not None:
        utterances = _of_split(source, utterances, split)
    utterances = _mark_duplicates(utterances)
    return utterances if limit is None else limit_round_robin(utterances, limit)


def prompts_origin(utterances: Sequence[Utterance]) -> str:
    """``human``, ``synthetic`` or ``unknown`` where all agree, else ``mixed``."""
    origins = {utterance.origin for utterance in utterances}
    return origins.pop() if len(origins) == 1 else "mixed" if origins else "unknown"


def _manifest_of(source: Path) -> Path | None:
    if source.is_file():
        return source
    return next((source / name for name in MANIFEST_NAMES if (source / name).is_file()), None)


def _from_manifest(path: Path, kind: str) -> list[Utterance]:
    rows = read_rows(path)
    present = {name for row in rows for name in row.values}
    columns = {ours: _first(present, names) for ours, names in COLUMN_NAMES.items()}
    missing = [ours for ours in REQUIRED_COLUMNS if columns[ours] is None]
    if missing:
        wanted = " and ".join(f"{name!r} (or {', '.join(COLUMN_NAMES[name][1:])})" for name in missing)
        found = ", ".join(sorted(present)) or "none"
        raise ValueError(f"{path}, row 1: column {wanted} is missing; found {found}; add the column")
    kind_column = columns["kind"]
    if kind_column is not None:
        rows = _of_kind(path, rows, kind_column, kind)
    human = present >= RECORDING_COLUMNS and kind == "speech"
    reader = _RowReader(path, columns, human)
    return [reader.utterance(row) for row in rows]


def _first(present: set[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in present), None)


def _of_kind(path: Path, rows: Sequence[RawRow], column: str, kind: str) -> list[RawRow]:
    kept = [row for row in rows if row.problem or row.values.get(column, "") in (kind, "")]
    if not kept:
        kinds = ", ".join(sorted({row.values.get(column, "") for row in rows}))
        raise ValueError(f"{path}: no row has {column} {kind!r} (found: {kinds}); name a manifest of {kind}")
    return kept


class _RowReader:
    """Turns one raw row into an utterance; knows the manifest's folder and which column is which."""

    def __init__(self, path: Path, columns: Mapping[str, str | None], human: bool) -> None:
        self.path, self.folder, self.columns = path, path.parent.resolve(), columns
        self.default_origin = "human" if human else "unknown"

    def utterance(self, row: RawRow) -> Utterance:
        audio_path, path_problem = self._audio_path(row)
        origin = self._value(row, "origin").lower() or self.default_origin
        problem = row.problem or path_problem
        if not problem and not self._value(row, "utterance_id"):
            problem = f"column {self.columns['utterance_id']!r} is empty; give the row an id"
        if origin not in ORIGINS:
            problem = problem or f"origin is {origin!r}; use one of {', '.join(ORIGINS)}"
            origin = "unknown"
        return Utterance(
            utterance_id=self._value(row, "utterance_id") or f"row{row.number}",
            audio_path=audio_path,
            duration_s=_seconds(self._value(row, "duration_s")),
            transcript=self._value(row, "transcript") or None,
            speaker_id=self._value(row, "speaker_id"),
            split=self._value(row, "split"),
            groups=MappingProxyType(_groups(row.values)),
            origin=origin,
            licence=self._value(row, "licence"),
            row=row.number,
            problem=f"{self.path.name}, row {row.number}: {problem}" if problem else "",
        )

    def _value(self, row: RawRow, name: str) -> str:
        column = self.columns[name]
        return row.values.get(column, "") if column else ""

    def _audio_path(self, row: RawRow) -> tuple[Path, str]:
        given = self._value(row, "audio_path")
        if not given:
            return self.folder, f"column {self.columns['audio_path']!r} is empty; name the row's audio file"
        try:
            audio_path = (self.folder / given).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            return self.folder, f"path {given!r} cannot be followed ({error}); correct it"
        if not audio_path.is_relative_to(self.folder):
            return audio_path, f"path {given!r} leads outside the manifest's folder; move the manifest above its audio"
        if not audio_path.exists():
            return audio_path, f"path {given!r}: no such file; correct the path or copy the file there"
        if not audio_path.is_file():
            return audio_path, f"path {given!r} is a folder, not an audio file; name a file in it"
        return audio_path, ""


def _groups(values: Mapping[str, str]) -> dict[str, str]:
    groups = {name.removeprefix("group:"): value for name, value in values.items() if name.startswith("group:")}
    for ours, names in GROUP_COLUMNS.items():
        column = _first(set(values), names)
        if column is not None:
            groups.setdefault(ours, values[column])
    if groups.get("age", "").isdigit():
        decade = int(groups["age"]) // 10 * 10
        groups["age"] = f"{decade}-{decade + 9}"
    return {name: value for name, value in sorted(groups.items()) if name and value}


def _seconds(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _of_split(source: Path, utterances: Sequence[Utterance], split: str) -> list[Utterance]:
    kept = [utterance for utterance in utterances if utterance.split == split]
    if not kept:
        found = ", ".join(sorted({utterance.split or "(none)" for utterance in utterances}))
        raise ValueError(f"{source}: no utterance of split {split!r}; this source has: {found}")
    return kept


def _mark_duplicates(utterances: Sequence[Utterance]) -> list[Utterance]:
    """Second and later rows of one id get an id of their own and a problem, so that no row hides another."""
    seen: Counter[str] = Counter()
    taken = {utterance.utterance_id for utterance in utterances}
    marked = []
    for utterance in utterances:
        name = utterance.utterance_id
        seen[name] += 1
        if seen[name] == 1:
            marked.append(utterance)
            continue
        where = f"row {utterance.row}" if utterance.row is not None else str(utterance.audio_path)
        new_name = _free_name(f"{name}#{utterance.row or seen[name]}", taken)
        problem = utterance.problem or f"{where}: id {name!r} was used before; give every row an id of its own"
        marked.append(replace(utterance, utterance_id=new_name, problem=problem))
    return marked


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "+"
    taken.add(name)
    return name
