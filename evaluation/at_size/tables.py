"""The tables of one shard, made column by column, and where they lie in a run folder.

Part files hold the rows of the single tables: ``scores/part-00000012.parquet`` those of ``scores.parquet``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from evaluation.frames import SCHEMA_VERSION, SCORE_SCHEMA, generation_table, write_table
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder
from evaluation.score_store import Cell

__all__ = ["PART_GLOB", "Part", "join_parts", "parts_done", "score_table", "write_part"]

PART_GLOB = "part-*.parquet"
Scored = Sequence[tuple[GenerationRecord, str, Sequence[Cell]]]
"""Cells by record and scorer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Tables of one shard, each sorted by its key."""

    generations: pa.Table
    scores: pa.Table
    transcripts: pa.Table


def records_table(records: Sequence[GenerationRecord], groups: Sequence[str]) -> pa.Table:
    """As ``generation_table``, with a column for every group of the run."""
    table = generation_table(records)
    for name in sorted(groups):
        column = f"group:{name}"
        if column not in table.column_names:
            table = table.append_column(column, pa.nulls(table.num_rows, pa.string()))
    known = [name for name in table.column_names if not name.startswith("group:")]
    return table.select([*known, *(f"group:{name}" for name in sorted(groups))])


def score_table(scored: Scored, versions: Mapping[str, str], run_id: str) -> pa.Table:
    """Rows of the ScoreFrame in order of their key."""
    rows = [(record.item_id, scorer, cell.measure, record, cell) for record, scorer, cells in scored for cell in cells]
    rows.sort(key=lambda row: row[:3])
    columns: dict[str, list[object]] = {
        "schema_version": [SCHEMA_VERSION] * len(rows),
        "run_id": [run_id] * len(rows),
        "item_id": [row[0] for row in rows],
        "utterance_id": [row[3].utterance_id for row in rows],
        "speaker_id": [row[3].speaker_id for row in rows],
        "system": [row[3].system for row in rows],
        "role": [row[3].role for row in rows],
        "scorer": [row[1] for row in rows],
        "measure": [row[2] for row in rows],
        "value": [row[4].value for row in rows],
        "status": [row[4].status for row in rows],
        "reason": [row[4].reason for row in rows],
        "scorer_version": [versions[row[1]] for row in rows],
    }
    return pa.Table.from_pydict(columns, schema=SCORE_SCHEMA)


def join_parts(parts: Sequence[Part]) -> Part:
    """One part with the rows of several, in order of their keys."""
    return Part(
        generations=pa.concat_tables([part.generations for part in parts]).sort_by("item_id"),
        scores=pa.concat_tables([part.scores for part in parts]).sort_by(
            [(name, "ascending") for name in ("item_id", "scorer", "measure")]
        ),
        transcripts=pa.concat_tables([part.transcripts for part in parts]).sort_by(
            [("item_id", "ascending"), ("scorer", "ascending")]
        ),
    )


def write_part(run: RunFolder, number: int, part: Part) -> None:
    """Write a shard's tables; that of scores last, which is the sign that the shard is done."""
    if part.transcripts.num_rows:
        write_table(_path(run.transcripts, number), part.transcripts)
    write_table(_path(run.generations, number), part.generations)
    write_table(_path(run.scores, number), part.scores)


def parts_done(run: RunFolder) -> Iterator[int]:
    """Numbers of the shards that are done. Leftovers of a kill are removed, and folders made."""
    for table in (run.scores, run.generations, run.transcripts):
        folder = table.with_suffix("")
        folder.mkdir(exist_ok=True)
        for leftover in folder.glob(".*.tmp"):
            with contextlib.suppress(FileNotFoundError):
                leftover.unlink()
    for path in run.scores.with_suffix("").glob(PART_GLOB):
        yield int(path.stem.removeprefix("part-"))


def _path(table: Path, number: int) -> Path:
    return table.with_suffix("") / f"part-{number:08d}.parquet"
