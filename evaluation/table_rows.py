"""Raw rows of a CSV, JSON lines or Parquet manifest, with the number a reader finds them by."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MANIFEST_SUFFIXES", "RawRow", "read_rows"]

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
    suffix = path.suffix.lower()
    if suffix not in MANIFEST_SUFFIXES:
        raise ValueError(
            f"{path}: {suffix or 'no suffix'} is no manifest; use {', '.join(MANIFEST_SUFFIXES)} or a folder"
        )
    if not path.is_file():
        raise ValueError(f"{path}: no such file; check the path of the manifest")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the manifest is empty (0 bytes); write a header and one row per recording")
    if suffix == ".parquet":
        rows = list(_parquet_rows(path))
    elif suffix in (".csv", ".tsv"):
        rows = list(_csv_rows(path, _text(path), "\t" if suffix == ".tsv" else ","))
    else:
        rows = list(_json_rows(_text(path)))
    if not rows:
        raise ValueError(f"{path}: the manifest has no rows; write one row per recording below the header")
    return rows


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, row {line}: byte 0x{data[error.start]:02x} is not UTF-8 text; save the manifest as UTF-8"
        ) from error


def _csv_rows(path: Path, text: str, delimiter: str) -> Iterator[RawRow]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
        _check_header(path, header)
        start = reader.line_num + 1
        for fields in reader:
            if fields and any(field.strip() for field in fields):
                yield _csv_row(start, header, fields)
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, row {reader.line_num}: is not CSV ({error}); check the quotes there") from error


def _check_header(path: Path, header: list[str]) -> None:
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


def _json_rows(text: str) -> Iterator[RawRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            yield RawRow(number, {}, f"is not a JSON object ({error}); write one object per line")
            continue
        if not isinstance(value, dict):
            yield RawRow(number, {}, f"is a JSON {type(value).__name__}, not an object; write one object per line")
            continue
        yield RawRow(number, _flat(value))


def _parquet_rows(path: Path) -> Iterator[RawRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise ValueError(f"{path}: is not a Parquet file that can be read ({error}); export it again") from error
    for number, value in enumerate(table.to_pylist(), start=1):
        yield RawRow(number, _flat(value))


def _flat(value: Mapping[str, object]) -> dict[str, str]:
    """Every field as text; an object under ``groups`` becomes ``group:<name>`` fields, null becomes absent."""
    flat: dict[str, str] = {}
    for name, field in value.items():
        if name == "groups" and isinstance(field, Mapping):
            flat.update({f"group:{key}": str(item).strip() for key, item in field.items() if item is not None})
        elif field is not None:
            flat[str(name)] = str(field).strip()
    return flat
