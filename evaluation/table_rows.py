"""Raw rows of a CSV, JSON lines or Parquet manifest, with the number a reader finds them by; one after the other."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

__all__ = ["MANIFEST_SUFFIXES", "OpenFile", "RawRow", "iter_rows", "read_rows"]

OpenFile = Callable[[str], IO[bytes]]
"""Opens a path or address for reading bytes; the result can seek."""
BATCH_ROWS = 4096
"""Rows of a Parquet file in memory at a time."""

MANIFEST_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")


@dataclass(frozen=True, slots=True)
class RawRow:
    """One manifest row as text: ``number`` is its line in the file (its 1-based row in Parquet); ``problem``
    says why it could not be taken apart, else it is empty."""

    number: int
    values: Mapping[str, str]
    problem: str = ""


def read_rows(path: Path) -> list[RawRow]:
    """All rows of a manifest, by suffix.

    Raises:
        ValueError: missing, empty, unknown suffix, not UTF-8, or not in the format its suffix names.
    """
    return list(iter_rows(path))


def iter_rows(source: str | Path, open_file: OpenFile | None = None) -> Iterator[RawRow]:
    """The rows of :func:`read_rows`, read as they are asked for; ``open_file`` opens a source that is no local path."""
    suffix = PurePosixPath(str(source)).suffix.lower()
    if suffix not in MANIFEST_SUFFIXES:
        raise ValueError(
            f"{source}: {suffix or 'no suffix'} is no manifest; use {', '.join(MANIFEST_SUFFIXES)} or a folder"
        )
    if open_file is None:
        path = Path(source)
        if not path.is_file():
            raise ValueError(f"{path}: no such file; check the path of the manifest")
        if path.stat().st_size == 0:
            raise ValueError(f"{path}: the manifest is empty (0 bytes); write a header and one row per recording")
    with contextlib.closing(open_file(str(source)) if open_file else Path(source).open("rb")) as stream:
        if suffix == ".parquet":
            rows = _parquet_rows(source, stream)
        elif suffix in (".csv", ".tsv"):
            lines = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
            rows = _csv_rows(source, lines, "\t" if suffix == ".tsv" else ",")
        else:
            rows = _json_rows(io.TextIOWrapper(stream, encoding="utf-8-sig", newline="\n"))
        found = False
        try:
            for row in rows:
                found = True
                yield row
        except UnicodeDecodeError as error:
            line, byte = _not_text(stream)
            raise ValueError(
                f"{source}, row {line}: byte 0x{byte:02x} is not UTF-8 text; save the manifest as UTF-8"
            ) from error
    if not found:
        raise ValueError(f"{source}: the manifest has no rows; write one row per recording below the header")


def _not_text(stream: IO[bytes]) -> tuple[int, int]:
    """Line and value of the first byte that is not UTF-8."""
    stream.seek(0)
    for number, line in enumerate(stream, start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            return number, line[error.start]
    return 0, 0


def _csv_rows(source: str | Path, lines: Iterable[str], delimiter: str) -> Iterator[RawRow]:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(source, header)
        start = reader.line_num + 1
        for fields in reader:
            if fields and any(field.strip() for field in fields):
                yield _csv_row(start, header, fields)
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{source}, row {reader.line_num}: is not CSV ({error}); check the quotes there") from error


def _check_header(path: str | Path, header: list[str]) -> None:
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise ValueError(f"{path}, row 1: column {', '.join(map(repr, doubled))} stands twice; keep one of them")


def _csv_row(number: int, header: list[str], fields: list[str]) -> RawRow:
    values = {name: field.strip() for name, field in zip(header, fields, strict=False)}
    if len(fields) == len(header):
        return RawRow(number, values)
    return RawRow(
        number, values, f"has {len(fields)} fields where the header names {len(header)}; quote commas inside a field"
    )


def _json_rows(lines: Iterable[str]) -> Iterator[RawRow]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield RawRow(number, {}, f"is not a JSON object ({error}); write one object per line")
            continue
        if not isinstance(value, dict):
            yield RawRow(number, {}, f"is a JSON {type(value).__name__}, not an object; write one object per line")
            continue
        yield RawRow(number, _flat(value))


def _parquet_rows(source: str | Path, stream: IO[bytes]) -> Iterator[RawRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(stream).iter_batches(BATCH_ROWS):
            for value in batch.to_pylist():
                number += 1
                yield RawRow(number, _flat(value))
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise ValueError(f"{source}: is not a Parquet file that can be read ({error}); export it again") from error


def _flat(value: Mapping[str, object]) -> dict[str, str]:
    """Every field as text; an object under ``groups`` becomes ``group:<name>`` fields, null becomes absent."""
    flat: dict[str, str] = {}
    for name, field in value.items():
        if name == "groups" and isinstance(field, Mapping):
            flat.update({f"group:{key}": str(item).strip() for key, item in field.items() if item is not None})
        elif field is not None:
            flat[str(name)] = str(field).strip()
    return flat
