"""Step 3 of a run: every item by every scorer, to ``scores.parquet``, ``transcripts.parquet`` and ``measures.json``.

Shard outer, scorer inner: a shard's clips are decoded once and resampled once per rate, then every scorer sees them
in batches. Results are kept by content, so a rerun computes only what changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from evaluation.frames import SCHEMA_VERSION, SCORE_SCHEMA, write_scores
from evaluation.metrics import Metric, MetricSpec
from evaluation.progress import Advance, Progress, silent
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder, write_json
from evaluation.score_batches import all_cells
from evaluation.score_inputs import content_key, precondition, references_of
from evaluation.score_store import NOTE, Cell, ScoreStore
from evaluation.score_workers import Job, Workers, score_workers
from evaluation.scorers import scorer_version
from evaluation.transcripts import Note, write_transcripts

__all__ = ["SHARD_UTTERANCES", "describe_measures", "score_items"]

SHARD_UTTERANCES = 16


def score_items(
    run: RunFolder,
    records: Sequence[GenerationRecord],
    metrics: Sequence[Metric],
    *,
    run_id: str,
    device: str = "cpu",
    progress: Progress = silent,
    shard_utterances: int = SHARD_UTTERANCES,
    workers: int = 1,
) -> pd.DataFrame:
    """Score what is not known yet, write ``measures.json`` and ``scores.parquet``, return the ScoreFrame.

    An item is scored by a metric when its role is among the metric's roles. An item without a clip, a failed
    precondition and an error each leave rows with their reason. ``workers`` above 1 scores in that many processes.
    """
    write_json(run.measures, describe_measures([metric.spec for metric in metrics]))
    store = ScoreStore(run.work("scores"))
    versions = {metric.spec.name: scorer_version(metric) for metric in metrics}
    references = references_of(records)
    by_utterance: dict[str, list[GenerationRecord]] = {}
    for record in sorted(records, key=lambda record: record.item_id):
        by_utterance.setdefault(record.utterance_id, []).append(record)
    names = sorted(by_utterance)
    total = sum(record.role in metric.spec.roles for record in records for metric in metrics)
    rows: list[dict[str, object]] = []
    notes: list[Note] = []
    with progress("score", total) as advance, score_workers(run.path, metrics, device, workers) as pool:
        for start in range(0, len(names), shard_utterances):
            shard = [record for name in names[start : start + shard_utterances] for record in by_utterance[name]]
            results = _shard_results(shard, references, metrics, versions, store, pool, advance)
            for metric in metrics:
                name = metric.spec.name
                for record in shard:
                    for cell in results.get((name, record.item_id), ()):
                        if cell.status == NOTE:
                            notes.append(Note(record, name, cell.measure, cell.reason))
                        else:
                            rows.append(_row(record, name, versions[name], cell, run_id))
    frame = pd.DataFrame(rows, columns=SCORE_SCHEMA.names)
    write_scores(run.scores, frame)
    write_transcripts(run.transcripts, notes)
    return frame


def describe_measures(specs: Sequence[MetricSpec]) -> list[dict[str, Any]]:
    """The entries of ``measures.json``: each measure with its scorer's title and protocol."""
    entries = []
    for spec in specs:
        for measure in spec.measures:
            entry = asdict(measure)
            entry["measure"] = entry.pop("name")
            entries.append(entry | {"scorer": spec.name, "scorer_title": spec.title, "protocol": _protocol(spec)})
    return sorted(entries, key=lambda entry: (str(entry["scorer"]), str(entry["measure"])))


def _protocol(spec: MetricSpec) -> dict[str, object]:
    return {
        "sample_rate_hz": spec.sample_rate_hz,
        "min_duration_s": spec.min_duration_s,
        "min_duration_source": spec.min_duration_source,
        "needs": sorted(spec.needs),
        "roles": list(spec.roles),
        "version": spec.version,
    }


def _shard_results(
    shard: Sequence[GenerationRecord],
    references: Mapping[str, GenerationRecord],
    metrics: Sequence[Metric],
    versions: Mapping[str, str],
    store: ScoreStore,
    pool: Workers,
    advance: Advance,
) -> dict[tuple[str, str], Sequence[Cell]]:
    """Cells by scorer and item; what was computed is kept in the store once the whole shard is done."""
    results: dict[tuple[str, str], Sequence[Cell]] = {}
    jobs: list[Job] = []
    keys: dict[tuple[str, str], str] = {}
    for metric in metrics:
        spec, waiting = metric.spec, []
        for record in shard:
            if record.role not in spec.roles:
                continue
            known, key = _without_scoring(spec, versions[spec.name], record, references, store)
            if known is None:
                waiting.append(record)
                keys[spec.name, record.item_id] = key
            else:
                results[spec.name, record.item_id] = known
                advance(1)
        jobs.extend(_jobs(metric, waiting, references, pool))
    fresh: dict[str, Sequence[Cell]] = {}
    for number, scored in pool.run(jobs):
        job = jobs[number]
        for record, cells in zip(job.records, scored, strict=True):
            place = (job.scorer, record.item_id)
            results[place] = fresh[keys[place]] = cells
        advance(len(job.records))
    store.add(fresh)
    return results


def _jobs(
    metric: Metric, waiting: Sequence[GenerationRecord], references: Mapping[str, GenerationRecord], pool: Workers
) -> list[Job]:
    size = pool.batch_size(metric, len(waiting))
    batches = [tuple(waiting[start : start + size]) for start in range(0, len(waiting), size)]
    return [
        Job(
            scorer=metric.spec.name,
            records=batch,
            references={r.utterance_id: references[r.utterance_id] for r in batch if r.utterance_id in references},
        )
        for batch in batches
    ]


def _without_scoring(
    spec: MetricSpec,
    version: str,
    record: GenerationRecord,
    references: Mapping[str, GenerationRecord],
    store: ScoreStore,
) -> tuple[Sequence[Cell] | None, str]:
    """Cells that need no scorer (no clip, precondition, known by content) or None, and the content key."""
    if record.status != "ok":
        return all_cells(spec, record.status, f"no clip: {record.reason}"), ""
    reference = references.get(record.utterance_id)
    reason = precondition(spec, record, reference)
    if reason:
        return all_cells(spec, "skipped", reason), ""
    key = content_key(spec, version, record, reference)
    return store.get(key), key


def _row(record: GenerationRecord, scorer: str, version: str, cell: Cell, run_id: str) -> dict[str, object]:
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "item_id": record.item_id,
        "utterance_id": record.utterance_id,
        "speaker_id": record.speaker_id,
        "system": record.system,
        "role": record.role,
        "scorer": scorer,
        "measure": cell.measure,
        "value": cell.value,
        "status": cell.status,
        "reason": cell.reason,
        "scorer_version": version,
    }
