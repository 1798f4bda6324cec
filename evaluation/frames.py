"""The three tables of a run folder: their columns and types, checked when written and when read.

Rows are sorted by key before they are written and no time or path of this machine goes in, so equal content gives
equal bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.records import GenerationRecord
from evaluation.whole_files import whole_file

__all__ = [
    "GENERATION_KEY",
    "SCHEMA_VERSION",
    "SCORE_KEY",
    "SCORE_SCHEMA",
    "STATUSES",
    "SUMMARY_KEY",
    "SUMMARY_SCHEMA",
    "check_scores",
    "generation_records",
    "generation_table",
    "read_frame",
    "read_generations",
    "read_scores",
    "read_summary",
    "table_files",
    "write_generations",
    "write_scores",
    "write_summary",
    "write_table",
]

SCHEMA_VERSION = 1
STATUSES = ("ok", "skipped", "failed")
GROUP_PREFIX = "group:"

SCORE_KEY = ["run_id", "item_id", "scorer", "measure"]
SCORE_SCHEMA = pa.schema(
    [
        ("schema_version", pa.int16()),
        ("run_id", pa.string()),
        ("item_id", pa.string()),
        ("utterance_id", pa.string()),
        ("speaker_id", pa.string()),
        ("system", pa.string()),
        ("role", pa.string()),
        ("scorer", pa.string()),
        ("measure", pa.string()),
        ("value", pa.float64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("scorer_version", pa.string()),
    ]
)
SUMMARY_KEY = ["system", "role", "group_by", "group", "scorer", "measure"]
SUMMARY_SCHEMA = pa.schema(
    [(name, pa.string()) for name in SUMMARY_KEY]
    + [(name, pa.float64()) for name in ("estimate", "ci_low", "ci_high", "confidence")]
    + [("method", pa.string())]
    + [(name, pa.int64()) for name in ("n_items", "n_speakers", "n_skipped", "n_failed")]
)
GENERATION_KEY = ["item_id"]
GENERATION_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("utterance_id", pa.string()),
        ("speaker_id", pa.string()),
        ("system", pa.string()),
        ("role", pa.string()),
        ("seed", pa.int64()),
        ("audio_path", pa.string()),
        ("sample_rate_hz", pa.int32()),
        ("duration_s", pa.float64()),
        ("prompt_s", pa.float64()),
        ("transcript", pa.string()),
        ("origin", pa.string()),
        ("wall_s", pa.float64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("content_sha256", pa.string()),
        ("config_sha256", pa.string()),
        ("note", pa.string()),
    ]
)


def write_scores(path: Path, frame: pd.DataFrame) -> None:
    """Check and write a ScoreFrame; the key must be unique and a value finite exactly where the status is ok."""
    check_scores(path, frame)
    write_table(path, _table(path, frame, SCORE_SCHEMA, SCORE_KEY))


def read_scores(path: Path) -> pd.DataFrame:
    """A checked ScoreFrame."""
    frame = read_frame(path, SCORE_SCHEMA)
    versions = sorted(set(frame["schema_version"]) - {SCHEMA_VERSION})
    if versions:
        raise ValueError(f"{path}: schema version {versions[0]}, this version reads {SCHEMA_VERSION}; score again")
    check_scores(path, frame)
    return frame


def check_scores(path: Path, frame: pd.DataFrame) -> None:
    """Raise a ValueError naming the first row that breaks the ScoreFrame's rules."""
    _check_columns(path, frame, SCORE_SCHEMA)
    ok = frame["status"] == "ok"
    rules = (
        (~frame["status"].isin(STATUSES), f"status must be one of {', '.join(STATUSES)}"),
        (ok != np.isfinite(frame["value"].to_numpy(dtype=float)), "a value is finite if and only if its status is ok"),
        (~ok & (frame["reason"].fillna("") == ""), "a row that is not ok needs a reason"),
        (ok & (frame["reason"].fillna("") != ""), "a row that is ok has no reason"),
        (frame.duplicated(SCORE_KEY), f"{', '.join(SCORE_KEY)} must be unique"),
    )
    for broken, rule in rules:
        if broken.any():
            row = frame[broken].iloc[0]
            raise ValueError(f"{path}: {rule}; broken by {row['item_id']} {row['scorer']} {row['measure']}")


def write_summary(path: Path, frame: pd.DataFrame) -> None:
    """Check and write a SummaryFrame; the key must be unique."""
    _check_columns(path, frame, SUMMARY_SCHEMA)
    repeated = frame.duplicated(SUMMARY_KEY)
    if repeated.any():
        raise ValueError(f"{path}: {', '.join(SUMMARY_KEY)} must be unique; repeated {dict(frame[repeated].iloc[0])}")
    write_table(path, _table(path, frame, SUMMARY_SCHEMA, SUMMARY_KEY))


def read_summary(path: Path) -> pd.DataFrame:
    """A checked SummaryFrame."""
    return read_frame(path, SUMMARY_SCHEMA)


def generation_table(records: Sequence[GenerationRecord]) -> pa.Table:
    """One row per item, groups spread over ``group:<name>`` columns."""
    names = sorted({name for record in records for name in record.groups})
    schema = GENERATION_SCHEMA
    for name in names:
        schema = schema.append(pa.field(GROUP_PREFIX + name, pa.string()))
    rows = []
    for record in sorted(records, key=lambda record: record.item_id):
        groups = dict(record.groups)
        fields = {name: getattr(record, name) for name in GENERATION_SCHEMA.names}
        rows.append(fields | {GROUP_PREFIX + name: groups.get(name) for name in names})
    return pa.Table.from_pylist(rows, schema=schema)


def write_generations(path: Path, records: Sequence[GenerationRecord]) -> None:
    """Write ``generations.parquet``; item ids must be unique."""
    names = [record.item_id for record in records]
    if len(set(names)) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}: item {repeated!r} stands twice; item ids must be unique")
    write_table(path, generation_table(records))


def read_generations(path: Path) -> list[GenerationRecord]:
    """The records of ``generations.parquet``."""
    return generation_records(path, _read(path))


def generation_records(path: Path, table: pa.Table) -> list[GenerationRecord]:
    """The records of a table that :func:`generation_table` made; ``path`` is named where a column is missing."""
    missing = [name for name in GENERATION_SCHEMA.names if name not in table.column_names]
    if missing:
        raise ValueError(f"{path}: column {missing[0]!r} is missing; generate again")
    records = []
    for row in table.to_pylist():
        groups = {
            name.removeprefix(GROUP_PREFIX): value
            for name, value in row.items()
            if name.startswith(GROUP_PREFIX) and value is not None
        }
        fields = {name: row[name] for name in GENERATION_SCHEMA.names}
        records.append(GenerationRecord(groups=groups, **fields))
    return records


def read_frame(path: Path, schema: pa.Schema) -> pd.DataFrame:
    """A Parquet file as a data frame, after checking that it has the schema's columns and types."""
    table = _read(path)
    for field in schema:
        if field.name not in table.column_names:
            raise ValueError(f"{path}: column {field.name!r} is missing; make the table again")
        if table.schema.field(field.name).type != field.type:
            raise ValueError(
                f"{path}: column {field.name!r} is {table.schema.field(field.name).type}, not {field.type}"
            )
    return table.to_pandas()


def write_table(path: Path, table: pa.Table) -> None:
    """Write Parquet atomically, without pandas metadata."""
    with whole_file(path) as temporary:
        pq.write_table(table.replace_schema_metadata(None), temporary, compression="zstd", write_page_checksum=True)


def _table(path: Path, frame: pd.DataFrame, schema: pa.Schema, key: list[str]) -> pa.Table:
    ordered = frame.sort_values(key, kind="stable")[schema.names]
    try:
        return pa.Table.from_pandas(ordered, schema=schema, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"{path}: a column has the wrong type ({error})") from error


def _check_columns(path: Path, frame: pd.DataFrame, schema: pa.Schema) -> None:
    if set(frame.columns) != set(schema.names):
        wrong = sorted(set(frame.columns) ^ set(schema.names))
        raise ValueError(f"{path}: columns missing or unknown: {', '.join(map(str, wrong))}")


def table_files(path: Path) -> list[Path]:
    """The file of a table, or its parts in a folder of the same name without suffix (``scores/part-*.parquet``)."""
    return [path] if path.is_file() else sorted(path.with_suffix("").glob("part-*.parquet"))


def _read(path: Path) -> pa.Table:
    files = table_files(path)
    if not files:
        raise ValueError(f"{path}: no such file; finish the run (audiolm-audit audit ... --resume)")
    try:
        tables = [pq.read_table(one, page_checksum_verification=True) for one in files]
        return pa.concat_tables(tables, promote_options="default")
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise ValueError(f"{path}: is not a Parquet file that can be read ({error}); run that step again") from error
