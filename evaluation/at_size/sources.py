"""What a streamed run is pointed at: a manifest, a folder, tar shards, here or at an fsspec address.

A source gives raw rows, as often as asked and in the same order, and a reader that travels to workers and turns a row
into an utterance and its recording.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from audiolm.audio import AUDIO_SUFFIXES
from evaluation.at_size.storage import Location, fetched, is_address, list_addresses, open_any
from evaluation.at_size.tars import AUDIO_PATH, OFFSET, SIZE, TAR, tar_rows
from evaluation.config import RunConfig
from evaluation.corpus_trees import is_corpus_tree, plain_utterance, read_tree
from evaluation.manifest import RowReader, manifest_of, row_reader
from evaluation.recordings import Recording, read_recording
from evaluation.records import Utterance
from evaluation.table_rows import MANIFEST_SUFFIXES, RawRow, iter_rows

__all__ = ["Reader", "Source", "source_of"]

KNOWN = ", ".join(AUDIO_SUFFIXES)


class Reader(Protocol):
    """Travels to workers."""

    @property
    def numbered(self) -> bool:
        """Whether a row's number means something to a person."""
        ...

    def name(self, row: RawRow) -> str:
        """The utterance id that :meth:`utterance` gives, without looking at the file."""
        ...

    def utterance(self, row: RawRow) -> Utterance: ...

    def place(self, row: RawRow, utterance: Utterance) -> str:
        """Where the recording lies, as a person would say it."""
        ...

    def recording(self, row: RawRow, utterance: Utterance, config: RunConfig) -> Recording: ...


class Source(Protocol):
    """Gives its rows as often as asked, always in the same order."""

    @property
    def name(self) -> str:
        """What messages and ``run.json`` call it."""
        ...

    def rows(self) -> Iterator[RawRow]: ...

    def reader(self, present: set[str]) -> Reader:
        """The reader of rows whose columns are among ``present``."""
        ...


def source_of(text: str) -> Source:
    """A manifest, a folder (with a manifest or of audio), tars (``shards/*.tar``), local or at an address.

    Raises:
        ValueError: nothing there, or of no kind that is read.
    """
    tars = _tars_of(text)
    if tars is not None:
        return TarSource(name=text, tars=tuple(tars))
    if is_address(text):
        suffix = PurePosixPath(text).suffix.lower()
        if suffix not in MANIFEST_SUFFIXES:
            known = ", ".join(MANIFEST_SUFFIXES)
            raise ValueError(f"{text}: name a manifest ({known}) or tars (shards/*.tar) at this address")
        return ManifestSource(name=text)
    path = Path(text)
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; name a manifest, tars or a folder of audio")
    manifest = manifest_of(path)
    return ManifestSource(name=str(manifest)) if manifest else FolderSource(name=str(path.resolve()))


def _tars_of(text: str) -> list[str] | None:
    if not text.endswith(".tar"):
        inside = sorted(Path(text).glob("*.tar")) if not is_address(text) and Path(text).is_dir() else []
        return [str(path) for path in inside] or None
    if is_address(text):
        found = list_addresses(text)
    else:
        path = Path(text)
        found = [text] if path.is_file() else sorted(map(str, path.parent.glob(path.name)))
    if not found:
        raise ValueError(f"{text}: no such tar; check the path or pattern")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestSource:
    """A manifest whose audio lies beside or below it."""

    name: str

    def rows(self) -> Iterator[RawRow]:
        return iter_rows(self.name, open_any if is_address(self.name) else None)

    def reader(self, present: set[str]) -> Reader:
        if is_address(self.name):
            base = self.name.rsplit("/", 1)[0]
            return AddressReader(base=base, rows=row_reader(self.name, Path("/"), present, looks=False))
        path = Path(self.name)
        return ManifestReader(rows=row_reader(path, path.parent.resolve(), present))


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestReader:
    """Rows of a manifest on this machine."""

    rows: RowReader
    numbered: bool = True

    def name(self, row: RawRow) -> str:
        return self.rows.name(row)

    def utterance(self, row: RawRow) -> Utterance:
        return self.rows.utterance(row)

    def place(self, row: RawRow, utterance: Utterance) -> str:
        return str(utterance.audio_path)

    def recording(self, row: RawRow, utterance: Utterance, config: RunConfig) -> Recording:
        return read_recording(utterance, config)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressReader:
    """Rows of a manifest at an address; audio paths are relative to it. ``rows`` knows the columns."""

    base: str
    rows: RowReader
    numbered: bool = True

    def name(self, row: RawRow) -> str:
        return self.rows.name(row)

    def utterance(self, row: RawRow) -> Utterance:
        given = self.rows.value(row, "audio_path")
        outside = is_address(given) or given.startswith("/") or ".." in PurePosixPath(given).parts
        if outside and not row.problem:
            problem = f"path {given!r} leads outside the manifest's folder; move the manifest above its audio"
            row = replace(row, problem=problem)
        return self.rows.utterance(row)

    def place(self, row: RawRow, utterance: Utterance) -> str:
        return f"{self.base}/{utterance.audio_path}"

    def recording(self, row: RawRow, utterance: Utterance, config: RunConfig) -> Recording:
        name = self.place(row, utterance)
        return _read_fetched(Location(name=name, address=name), utterance, config)


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSource:
    """Audio files below a folder. Corpus trees with tables of speakers are read whole, others file by file."""

    name: str

    def rows(self) -> Iterator[RawRow]:
        root = Path(self.name)
        if is_corpus_tree(root):
            for number, utterance in enumerate(read_tree(root), start=1):
                yield RawRow(number, {PATH: str(utterance.audio_path), **_fields(utterance)})
            return
        found = False
        for number, (path, stem_is_unique) in enumerate(_audio_below(root), start=1):
            found = True
            yield RawRow(number, {PATH: str(path), UNIQUE: "1" if stem_is_unique else ""})
        if not found:
            raise ValueError(
                f"{root}: holds no audio file ({', '.join(AUDIO_SUFFIXES)}); name a folder with recordings"
            )

    def reader(self, present: set[str]) -> Reader:
        return FolderReader(root=self.name)


PATH, UNIQUE = "audio_path", "stem_is_unique"


def _fields(utterance: Utterance) -> dict[str, str]:
    values = {"utterance_id": utterance.utterance_id, "speaker_id": utterance.speaker_id, "split": utterance.split,
              "transcript": utterance.transcript or "", "licence": utterance.licence}  # fmt: skip
    return values | {f"group:{name}": value for name, value in utterance.groups.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderReader:
    """Files of a folder; those of corpus trees come with their fields."""

    root: str
    numbered: bool = False

    def name(self, row: RawRow) -> str:
        known = row.values.get("utterance_id")
        return known or plain_utterance_id(Path(self.root), Path(row.values[PATH]), bool(row.values[UNIQUE]))

    def utterance(self, row: RawRow) -> Utterance:
        path, values = Path(row.values[PATH]), row.values
        if "utterance_id" not in values:
            return plain_utterance(Path(self.root), path, bool(values[UNIQUE]))
        groups = {name.removeprefix("group:"): value for name, value in values.items() if name.startswith("group:")}
        return Utterance(
            utterance_id=values["utterance_id"], audio_path=path, transcript=values["transcript"] or None,
            speaker_id=values["speaker_id"], split=values["split"], groups=groups, licence=values["licence"],
        )  # fmt: skip

    def place(self, row: RawRow, utterance: Utterance) -> str:
        return str(utterance.audio_path)

    def recording(self, row: RawRow, utterance: Utterance, config: RunConfig) -> Recording:
        return read_recording(utterance, config)


def plain_utterance_id(root: Path, path: Path, stem_is_unique: bool) -> str:
    name = path.relative_to(root)
    return (name.with_suffix("") if stem_is_unique else name).as_posix()


def _audio_below(folder: Path) -> Iterator[tuple[Path, bool]]:
    """Audio files in the order of sorted paths, and whether no other in the same folder has the same stem."""
    with os.scandir(folder) as entries:
        inside = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    paths = [folder / name for name, is_folder in inside if not is_folder]
    audio = {path for path in paths
             if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file()}  # fmt: skip
    stems: dict[Path, int] = {}
    for path in audio:
        stems[path.with_suffix("")] = stems.get(path.with_suffix(""), 0) + 1
    for name, is_folder in inside:
        path = folder / name
        if is_folder:
            yield from _audio_below(path)
        elif path in audio:
            yield path, stems[path.with_suffix("")] == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TarSource:
    """Tar shards in the layout of WebDataset: ``key.flac`` with ``key.json`` or ``key.txt`` beside it."""

    name: str
    tars: tuple[str, ...] = field(default=())

    def rows(self) -> Iterator[RawRow]:
        number = 0
        for address in self.tars:
            for values in tar_rows(address):
                number += 1
                yield RawRow(number, values)
        if not number:
            raise ValueError(
                f"{self.name}: holds no audio file ({', '.join(AUDIO_SUFFIXES)}); name tars with recordings"
            )

    def reader(self, present: set[str]) -> Reader:
        return TarReader(rows=row_reader(self.name, Path("/"), present | {"utterance_id", AUDIO_PATH}, looks=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class TarReader:
    """Members of tars, read where they lie in the tar; ``rows`` knows the columns."""

    rows: RowReader
    numbered: bool = False

    def name(self, row: RawRow) -> str:
        return self.rows.name(row)

    def utterance(self, row: RawRow) -> Utterance:
        return replace(self.rows.utterance(row), row=None)

    def place(self, row: RawRow, utterance: Utterance) -> str:
        return row.values[AUDIO_PATH]

    def recording(self, row: RawRow, utterance: Utterance, config: RunConfig) -> Recording:
        location = Location(
            name=row.values[AUDIO_PATH], address=row.values[TAR], offset=int(row.values[OFFSET]),
            size=int(row.values[SIZE]),
        )  # fmt: skip
        return _read_fetched(location, utterance, config)


def _read_fetched(location: Location, utterance: Utterance, config: RunConfig) -> Recording:
    """The recording of something that is no local file; messages name it as the user does."""
    if utterance.problem:
        return Recording(status="failed", reason=utterance.problem)
    where = f"row {utterance.row}: " if utterance.row is not None else ""
    try:
        with fetched(location) as path:
            found = read_recording(replace(utterance, audio_path=path), config)
    except (OSError, ValueError) as error:
        return Recording(status="failed", reason=f"{where}{location.name}: cannot be fetched ({error})")
    return replace(found, reason=found.reason.replace(str(path), location.name))
