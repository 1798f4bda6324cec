"""``transcripts.parquet``: what a recogniser heard in each clip beside what was said, word by word.

One row per clip whose text is known: ``item_id, utterance_id, speaker_id, system, role, scorer, recogniser,
normaliser, transcript`` (as written), ``heard`` (as heard), ``reference`` and ``hypothesis`` (both normalised, what is
counted), and ``operations``, a list of ``{operation, reference, heard}`` in order of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.asr.text_alignment import AlignedWord, align_words
from evaluation.frames import write_table
from evaluation.records import GenerationRecord

__all__ = ["Note", "Transcript", "read_transcripts", "transcript_table", "write_transcripts"]

HEARD, REFERENCE, HYPOTHESIS, RECOGNISER, NORMALISER = "heard", "reference", "hypothesis", "recogniser", "normaliser"

SCHEMA = pa.schema(
    [
        (name, pa.string())
        for name in (
            "item_id utterance_id speaker_id system role scorer recogniser normaliser"
            " transcript heard reference hypothesis"
        ).split()
    ]
    + [
        (
            "operations",
            pa.list_(pa.struct([(name, pa.string()) for name in ("operation", "reference", "heard")])),
        )
    ]
)


@dataclass(frozen=True, slots=True)
class Note:
    """A text that a scorer gave beside its values: of which item, by which scorer, under which name."""

    record: GenerationRecord
    scorer: str
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """One row of ``transcripts.parquet``."""

    item_id: str
    utterance_id: str
    speaker_id: str
    system: str
    role: str
    scorer: str
    recogniser: str
    reference: str
    operations: tuple[AlignedWord, ...]


def write_transcripts(path: Path, notes: Sequence[Note]) -> None:
    """Write the table, sorted by item and scorer; an older table goes where nothing was transcribed."""
    table = transcript_table(notes)
    if table.num_rows:
        write_table(path, table)
    else:
        path.unlink(missing_ok=True)


def transcript_table(notes: Sequence[Note]) -> pa.Table:
    """The rows of ``transcripts.parquet``, sorted by item and scorer."""
    return pa.Table.from_pylist(sorted(_rows(notes), key=lambda row: (row["item_id"], row["scorer"])), schema=SCHEMA)


def read_transcripts(path: Path) -> list[Transcript]:
    """The rows of the table; none where the run has no such file.

    Raises:
        ValueError: the file is not such a table.
    """
    if not path.is_file():
        return []
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, schema=SCHEMA).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: is not a table of transcripts ({error}); score again") from error
    names = ("item_id", "utterance_id", "speaker_id", "system", "role", "scorer", "recogniser", "reference")
    return [
        Transcript(
            **{name: row[name] for name in names},
            operations=tuple(AlignedWord(**step) for step in row["operations"]),
        )
        for row in rows
    ]


def _rows(notes: Sequence[Note]) -> Iterator[dict[str, Any]]:
    for record, scorer, texts in _by_item(notes):
        if REFERENCE not in texts or HYPOTHESIS not in texts:
            continue
        yield {
            "item_id": record.item_id,
            "utterance_id": record.utterance_id,
            "speaker_id": record.speaker_id,
            "system": record.system,
            "role": record.role,
            "scorer": scorer,
            "recogniser": texts.get(RECOGNISER, ""),
            "normaliser": texts.get(NORMALISER, ""),
            "transcript": record.transcript,
            "heard": texts.get(HEARD, ""),
            "reference": texts[REFERENCE],
            "hypothesis": texts[HYPOTHESIS],
            "operations": [asdict(step) for step in align_words(texts[REFERENCE], texts[HYPOTHESIS])],
        }


def _by_item(notes: Iterable[Note]) -> Iterator[tuple[GenerationRecord, str, dict[str, str]]]:
    grouped: dict[tuple[str, str], tuple[GenerationRecord, dict[str, str]]] = {}
    for note in notes:
        place = (note.record.item_id, note.scorer)
        grouped.setdefault(place, (note.record, {}))[1][note.name] = note.text
    for (_, scorer), (record, texts) in grouped.items():
        yield record, scorer, texts
