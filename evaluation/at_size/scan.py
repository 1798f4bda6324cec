"""The first reading of a source: what is in it, what is to be kept, and which ids occur twice; rows are not kept."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from evaluation.at_size.duplicates import IdIndex, Renamer
from evaluation.at_size.sources import ManifestSource, Reader, Source
from evaluation.at_size.work import StreamRow
from evaluation.config import canonical_json
from evaluation.manifest import RowReader, groups_of, no_row_of_kind
from evaluation.table_rows import RawRow

__all__ = ["Scan", "scan"]

KIND = "speech"


@dataclass(slots=True)
class Scan:
    """Facts of a source, and its rows again, with new names where ids occur twice."""

    source: Source
    reader: Reader
    n_rows: int
    sha256: str
    facts: dict[str, object]
    groups: tuple[str, ...]
    split: str | None
    index: IdIndex
    chosen: frozenset[int] | None

    def rows(self) -> Iterator[StreamRow]:
        rename = Renamer(self.index)
        for place, row in enumerate(_kept(self.source, self.reader, self.split)):
            new_name = rename(self.reader.name(row), row.number if self.reader.numbered else None)
            if self.chosen is None or place in self.chosen:
                yield StreamRow(row, new_name)


@dataclass(slots=True)
class _Counts:
    rows: int = 0
    without_speaker: int = 0
    with_transcript: int = 0
    speakers: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    groups: set[str] = field(default_factory=set)


def scan(source: Source, folder: Path, *, split: str | None = None, limit: int | None = None) -> Scan:
    """Read a source once; ``folder`` is for files that are needed while it is worked on.

    Raises:
        ValueError: unreadable, a required column is missing, or nothing is left after filtering.
    """
    reader = source.reader(_columns(source))
    counts, digest, index = _Counts(), hashlib.sha256(), IdIndex(folder)
    turns = _turns(source, reader, split, counts, digest, index)
    if limit is None:
        for _ in turns:
            pass
        chosen = None
    else:
        chosen = frozenset(place for _, place in heapq.nsmallest(limit, turns))
    index.close()
    n_rows = counts.rows if chosen is None else len(chosen)
    facts: dict[str, object] = {
        "origin": "unknown",
        "n_utterances": n_rows,
        "n_speakers": sum(1 for name in counts.speakers if name),
        "n_without_speaker": counts.without_speaker,
        "n_with_transcript": counts.with_transcript,
        "licences": dict(sorted(counts.licences.items())),
        "groups": sorted(counts.groups),
        "sha256": digest.hexdigest(),
    }
    return Scan(source, reader, n_rows, digest.hexdigest(), facts, tuple(sorted(counts.groups)), split, index, chosen)


def _columns(source: Source) -> set[str]:
    """Names of all columns that occur; a table of text says them in its first row, so that one is enough there."""
    present: set[str] = set()
    for row in source.rows():
        present.update(row.values)
        if isinstance(source, ManifestSource) and source.name.lower().endswith((".csv", ".tsv")) and not row.problem:
            break
    return present


def _kept(source: Source, reader: Reader, split: str | None) -> Iterator[RawRow]:
    rows: RowReader | None = getattr(reader, "rows", None)
    for row in source.rows():
        if rows is not None and not rows.is_kind(row, KIND):
            continue
        if split is None or _value(reader, row, "split") == split:
            yield row


def _value(reader: Reader, row: RawRow, name: str) -> str:
    rows: RowReader | None = getattr(reader, "rows", None)
    return rows.value(row, name) if rows is not None else row.values.get(name, "")


def _turns(
    source: Source, reader: Reader, split: str | None, counts: _Counts, digest: hashlib._Hash, index: IdIndex
) -> Iterator[tuple[int, int]]:
    """For every row its place in its speaker's list and in the source, while everything else is counted."""
    for place, row in enumerate(_kept(source, reader, split)):
        digest.update(canonical_json([row.number, row.values, row.problem]).encode())
        index.add(reader.name(row))
        speaker = _value(reader, row, "speaker_id")
        counts.rows += 1
        counts.without_speaker += not speaker
        counts.with_transcript += bool(_value(reader, row, "transcript"))
        counts.licences[_value(reader, row, "licence") or "unstated"] += 1
        counts.groups.update(groups_of(row.values))
        counts.speakers[speaker] += 1
        yield counts.speakers[speaker] - 1, place
    if counts.rows:
        return
    if split is not None:
        found = ", ".join(sorted({_value(reader, row, "split") or "(none)" for row in source.rows()}))
        raise ValueError(f"{source.name}: no utterance of split {split!r}; this source has: {found}")
    rows: RowReader | None = getattr(reader, "rows", None)
    if rows is not None:
        raise no_row_of_kind(source.name, rows, {rows.value(row, "kind") for row in source.rows()}, KIND)
