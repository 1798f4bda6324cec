"""A shard of rows to a shard's tables: read, judge usable, score; nothing is written and nothing is kept.

The audio is scored as the run folder of an audit would hold it (16-bit WAV), so the tables are those of that audit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from audiolm.audio import wav_bytes
from evaluation.at_size.sources import Reader
from evaluation.at_size.tables import Part, join_parts, records_table, score_table
from evaluation.config import RunConfig
from evaluation.engines import Work
from evaluation.generation_shards import ShardJob, audio_provenance, record_of
from evaluation.manifest import renamed
from evaluation.metrics import Metric
from evaluation.recordings import Recording
from evaluation.records import GenerationRecord, Utterance
from evaluation.run_folder import RunFolder
from evaluation.score_batches import LoadedScorer, all_cells, score_batch
from evaluation.score_inputs import ClipStore, precondition
from evaluation.score_store import NOTE, Cell
from evaluation.scorers import available_scorers
from evaluation.scoring import batch_size
from evaluation.table_rows import RawRow
from evaluation.threads import one_thread
from evaluation.transcripts import Note, transcript_table

__all__ = ["StreamRow", "StreamWork"]

ROLE = "recorded"
Shard = tuple["StreamRow", ...]


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A raw row; ``new_name`` where its id was used before."""

    raw: RawRow
    new_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamWork(Work[Shard, Part]):
    """``versions``: scorers by name with their versions; ``groups``: audit axes that occur anywhere in the run.

    ``metrics`` score in this process; elsewhere ``scorers_from`` finds scorers by device. ``item_limit_s``: how long
    one recording may take with all scorers, 0 for as long as it likes.
    """

    reader: Reader
    config: RunConfig
    system: str
    system_sha256: str
    run_id: str
    versions: Mapping[str, str]
    groups: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    scorers_from: Callable[[str], Mapping[str, Metric]] = available_scorers
    item_limit_s: float = 0.0

    def open(self) -> Callable[[Shard], Part]:
        metrics = {metric.spec.name: metric for metric in self.metrics} or self.scorers_from(self.config.device)
        scorers = [LoadedScorer(metrics[name], self.config.device) for name in self.versions]

        def work(shard: Shard) -> Part:
            with one_thread(self.config.device):
                return self._part(shard, scorers)

        return work

    def portable(self) -> StreamWork:
        return replace(self, metrics=())

    def items(self, shard: Shard) -> Sequence[Shard]:
        return [(row,) for row in shard]

    def join(self, shard: Shard, results: Sequence[Part]) -> Part:
        return join_parts(results)

    def lost(self, shard: Shard, reason: str) -> Part:
        failed = Recording(status="failed", reason=f"the process that worked on this recording {reason}")
        records = [record_of(self._job(), self._utterance(row), failed, ROLE) for row in shard]
        scored = [(record, metric.spec.name, all_cells(metric.spec, "failed", f"no clip: {record.reason}"))
                  for record in records for metric in self.metrics if ROLE in metric.spec.roles]  # fmt: skip
        return self._tables(records, scored)

    def time_limit_s(self, shard: Shard) -> float:
        return self.item_limit_s * len(shard)

    def _part(self, shard: Shard, scorers: Sequence[LoadedScorer]) -> Part:
        clips = ClipStore(Path())
        records = [self._read(row, clips) for row in shard]
        scored = []
        for scorer in scorers:
            if ROLE in scorer.metric.spec.roles:
                scored.extend(self._scored(scorer, records, clips))
        return self._tables(records, scored)

    def _utterance(self, row: StreamRow) -> Utterance:
        utterance = replace(self.reader.utterance(row.raw), origin="unknown")
        return renamed(utterance, row.new_name) if row.new_name else utterance

    def _read(self, row: StreamRow, clips: ClipStore) -> GenerationRecord:
        """The row's record; its clip goes into the store."""
        utterance = self._utterance(row)
        recording = self.reader.recording(row.raw, utterance, self.config)
        record = record_of(self._job(), utterance, recording, ROLE)
        if recording.clip is None:
            return record
        data, clip = wav_bytes(recording.clip, audio_provenance(ROLE, utterance.utterance_id))
        place = self.reader.place(row.raw, utterance)
        clips.put(place, clip)
        return replace(
            record,
            audio_path=place,
            sample_rate_hz=clip.sample_rate_hz,
            duration_s=clip.duration_s,
            content_sha256=hashlib.sha256(data).hexdigest(),
        )

    def _scored(
        self, scorer: LoadedScorer, records: Sequence[GenerationRecord], clips: ClipStore
    ) -> list[tuple[GenerationRecord, str, Sequence[Cell]]]:
        spec, found, waiting = scorer.metric.spec, [], []
        for record in records:
            if record.status != "ok":
                found.append((record, spec.name, all_cells(spec, record.status, f"no clip: {record.reason}")))
                continue
            reason = precondition(spec, record, None)
            if reason:
                found.append((record, spec.name, all_cells(spec, "skipped", reason)))
            else:
                waiting.append(record)
        size = batch_size(spec, self.config.device)
        for start in range(0, len(waiting), size):
            batch = waiting[start : start + size]
            cells = score_batch(scorer, batch, {}, clips)
            found.extend((record, spec.name, one) for record, one in zip(batch, cells, strict=True))
        return found

    def _tables(
        self, records: Sequence[GenerationRecord], scored: Sequence[tuple[GenerationRecord, str, Sequence[Cell]]]
    ) -> Part:
        notes = [Note(record, scorer, cell.measure, cell.reason)
                 for record, scorer, cells in scored for cell in cells if cell.status == NOTE]  # fmt: skip
        values = [(record, scorer, [cell for cell in cells if cell.status != NOTE]) for record, scorer, cells in scored]
        return Part(
            generations=records_table(records, self.groups),
            scores=score_table(values, self.versions, self.run_id),
            transcripts=transcript_table(notes),
        )

    def _job(self) -> ShardJob:
        return ShardJob(run=RunFolder(""), config=self.config, generator=None, system=self.system,
                        system_sha256=self.system_sha256)  # fmt: skip
