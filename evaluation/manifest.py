"""Prompts from a manifest, a corpus tree or a folder: one list of utterances, nothing dropped in silence.

What makes the whole source unusable is one ValueError with everything that is wrong in it. What makes one
row unusable is written into that row's ``problem``, and the row stays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from evaluation.corpus_trees import read_tree
from evaluation.records import ORIGINS, Utterance
from evaluation.splits import limit_round_robin
from evaluation.table_rows import RawRow, read_rows
from evaluation.well_formed import well_formed_utterance

__all__ = [
    "MANIFEST_NAMES",
    "RowReader",
    "groups_of",
    "manifest_of",
    "no_row_of_kind",
    "prompts_origin",
    "read_utterances",
    "renamed",
    "row_reader",
]

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
    if str(source).endswith(".tar") or "://" in str(source):
        raise ValueError(f"{source}: tars and addresses are read with audit --system ... --stream")
    source = Path(source)
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; keep at least 1 utterance")
    if not source.exists():
        raise ValueError(f"{source}: no such file or folder; name a manifest, a corpus tree or a folder of audio")
    manifest = manifest_of(source)
    utterances = _from_manifest(manifest, kind) if manifest else list(map(well_formed_utterance, read_tree(source)))
    if split is not None:
        utterances = _of_split(source, utterances, split)
    utterances = _mark_duplicates(utterances)
    return utterances if limit is None else limit_round_robin(utterances, limit)


def prompts_origin(utterances: Sequence[Utterance]) -> str:
    """``human``, ``synthetic`` or ``unknown`` where all agree, else ``mixed``."""
    origins = {utterance.origin for utterance in utterances}
    return origins.pop() if len(origins) == 1 else "mixed" if origins else "unknown"


def manifest_of(source: Path) -> Path | None:
    """The manifest that a path is or holds."""
    if source.is_file():
        return source
    return next((source / name for name in MANIFEST_NAMES if (source / name).is_file()), None)


def _from_manifest(path: Path, kind: str) -> list[Utterance]:
    rows = read_rows(path)
    reader = row_reader(path, path.parent.resolve(), {name for row in rows for name in row.values}, kind)
    kept = [row for row in rows if reader.is_kind(row, kind)]
    if not kept:
        raise no_row_of_kind(path, reader, {reader.value(row, "kind") for row in rows}, kind)
    return [reader.utterance(row) for row in kept]


def row_reader(
    source: str | Path, folder: Path, present: set[str], kind: str = "speech", *, looks: bool = True
) -> RowReader:
    """What turns the rows of a manifest with the columns ``present`` into utterances.

    Raises:
        ValueError: a required column is missing.
    """
    columns = {ours: _first(present, names) for ours, names in COLUMN_NAMES.items()}
    missing = [ours for ours in REQUIRED_COLUMNS if columns[ours] is None]
    if missing:
        wanted = " and ".join(f"{name!r} (or {', '.join(COLUMN_NAMES[name][1:])})" for name in missing)
        found = ", ".join(sorted(present)) or "none"
        raise ValueError(f"{source}, row 1: column {wanted} is missing; found {found}; add the column")
    human = present >= RECORDING_COLUMNS and kind == "speech"
    return RowReader(
        file_name=PurePosixPath(str(source)).name, folder=folder, columns=columns,
        default_origin="human" if human else "unknown", looks=looks,
    )  # fmt: skip


def no_row_of_kind(source: str | Path, reader: RowReader, kinds: set[str], kind: str) -> ValueError:
    found = ", ".join(sorted(kinds))
    return ValueError(
        f"{source}: no row has {reader.columns['kind']} {kind!r} (found: {found}); name a manifest of {kind}"
    )


def _first(present: set[str], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in present), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReader:
    """Turns one raw row into an utterance; knows the manifest's folder and which column is which.

    ``looks`` False takes the audio path as it stands, where it is none of this machine.
    """

    file_name: str
    folder: Path
    columns: Mapping[str, str | None]
    default_origin: str
    looks: bool = True

    def utterance(self, row: RawRow) -> Utterance:
        audio_path, path_problem = self._audio_path(row)
        origin = self.value(row, "origin").lower() or self.default_origin
        problem = row.problem or path_problem
        if not problem and not self.value(row, "utterance_id"):
            problem = f"column {self.columns['utterance_id']!r} is empty; give the row an id"
        if origin not in ORIGINS:
            problem = problem or f"origin is {origin!r}; use one of {', '.join(ORIGINS)}"
            origin = "unknown"
        utterance = Utterance(
            utterance_id=self.name(row),
            audio_path=audio_path,
            duration_s=_seconds(self.value(row, "duration_s")),
            transcript=self.value(row, "transcript") or None,
            speaker_id=self.value(row, "speaker_id"),
            split=self.value(row, "split"),
            groups=MappingProxyType(groups_of(row.values)),
            origin=origin,
            licence=self.value(row, "licence"),
            row=row.number,
            problem=f"{self.file_name}, row {row.number}: {problem}" if problem else "",
        )
        return well_formed_utterance(utterance)

    def value(self, row: RawRow, name: str) -> str:
        column = self.columns[name]
        return row.values.get(column, "") if column else ""

    def name(self, row: RawRow) -> str:
        """The row's utterance id."""
        return self.value(row, "utterance_id") or f"row{row.number}"

    def is_kind(self, row: RawRow, kind: str) -> bool:
        """Whether a row is of this kind; one that says nothing, or cannot be taken apart, is of every kind."""
        return bool(row.problem) or self.value(row, "kind") in (kind, "")

    def _audio_path(self, row: RawRow) -> tuple[Path, str]:
        given = self.value(row, "audio_path")
        if not given:
            return self.folder, f"column {self.columns['audio_path']!r} is empty; name the row's audio file"
        if not self.looks:
            return Path(given), ""
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


def groups_of(values: Mapping[str, str]) -> dict[str, str]:
    """The audit axes that a row's columns name; unknown values stay absent."""
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
        new_name = f"{name}#{utterance.row or seen[name]}"
        while new_name in taken:
            new_name += "+"
        taken.add(new_name)
        marked.append(renamed(utterance, new_name))
    return marked


def renamed(utterance: Utterance, new_name: str) -> Utterance:
    """An utterance whose id was used before, under another one and with a problem."""
    where = f"row {utterance.row}" if utterance.row is not None else str(utterance.audio_path)
    used = f"{where}: id {utterance.utterance_id!r} was used before; give every row an id of its own"
    return replace(utterance, utterance_id=new_name, problem=utterance.problem or used)
