"""Step 3 of a run: every item by every scorer, to ``scores.parquet``, ``transcripts.parquet`` and ``measures.json``.

Shard outer, scorer inner: a shard's clips are decoded once and resampled once per rate, then every scorer sees them
in batches. Results are kept by content, so a rerun computes only what changed. Shards and batches are the same
whichever engine works on them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from evaluation.engines import Engine, EngineOptions, engine_of, open_engine
from evaluation.frames import SCHEMA_VERSION, SCORE_SCHEMA, write_scores
from evaluation.metrics import Metric, MetricSpec
from evaluation.progress import Progress, silent
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder, write_json
from evaluation.score_batches import all_cells
from evaluation.score_inputs import content_key, precondition, references_of
from evaluation.score_store import NOTE, Cell, ScoreStore
from evaluation.score_work import Job, ScoreWork, plain
from evaluation.scorers import scorer_version
from evaluation.transcripts import Note, write_transcripts

__all__ = ["SHARD_UTTERANCES", "batch_size", "describe_measures", "score_items", "score_row"]

SHARD_UTTERANCES = 16
"""Most utterances of a shard on a CPU."""
SHARDS = 16
"""A run of few utterances is cut into about so many shards, so that no worker is without one."""
ACCELERATOR_FACTOR = 4
"""Shards and batches are larger by this on a device that is no CPU."""


def score_items(
    run: RunFolder,
    records: Sequence[GenerationRecord],
    metrics: Sequence[Metric],
    *,
    run_id: str,
    device: str = "cpu",
    progress: Progress = silent,
    shard_utterances: int | None = None,
    workers: int = 1,
    engine: EngineOptions | None = None,
) -> pd.DataFrame:
    """Score what is not known yet, write ``measures.json`` and ``scores.parquet``, return the ScoreFrame.

    An item is scored by a metric when its role is among the metric's roles. An item without a clip, a failed
    precondition and an error each leave rows with their reason. ``workers`` above 1 scores in that many processes;
    ``engine`` says more than that.
    """
    options = engine_of(workers, engine)
    write_json(run.measures, describe_measures([metric.spec for metric in metrics]))
    plans = _Plans(run, records, metrics, device, shard_utterances, options.item_limit_s)
    total = sum(record.role in metric.spec.roles for record in records for metric in metrics)
    rows: list[dict[str, object]] = []
    notes: list[Note] = []
    with progress("score", total) as advance, open_engine(options) as started:
        for plan in plans.scored(started):
            for metric in metrics:
                name = metric.spec.name
                for record in plan.records:
                    for cell in plan.results.get((name, record.item_id), ()):
                        if cell.status == NOTE:
                            notes.append(Note(record, name, cell.measure, cell.reason))
                        else:
                            rows.append(score_row(record, name, plans.versions[name], cell, run_id))
            advance(len(plan.results))
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


def batch_size(spec: MetricSpec, device: str) -> int:
    """Items that a scorer sees at once on a device."""
    return spec.batch_size if device == "cpu" else spec.batch_size * ACCELERATOR_FACTOR


@dataclass(slots=True, kw_only=True)
class _Plan:
    """One shard: its records, what is known of them by scorer and item, and the jobs that give the rest."""

    records: Sequence[GenerationRecord]
    results: dict[tuple[str, str], Sequence[Cell]] = field(default_factory=dict)
    jobs: list[Job] = field(default_factory=list)
    keys: dict[tuple[str, str], str] = field(default_factory=dict)


class _Plans:
    """The shards of a run, one plan after the other as the engine asks for them."""

    def __init__(
        self,
        run: RunFolder,
        records: Sequence[GenerationRecord],
        metrics: Sequence[Metric],
        device: str,
        shard_utterances: int | None,
        item_limit_s: float,
    ) -> None:
        self.metrics, self.device = metrics, device
        self.work = ScoreWork(folder=str(run.path), device=device, metrics=tuple(metrics), item_limit_s=item_limit_s)
        self.store = ScoreStore(run.work("scores"))
        self.versions = {metric.spec.name: scorer_version(metric) for metric in metrics}
        self.references = references_of(records)
        self.by_utterance: dict[str, list[GenerationRecord]] = {}
        for record in sorted(records, key=lambda record: record.item_id):
            self.by_utterance.setdefault(record.utterance_id, []).append(record)
        self.size = shard_utterances or _shard_size(len(self.by_utterance), device)

    def scored(self, engine: Engine) -> Iterator[_Plan]:
        """Every plan with all results; what was computed is kept in the store once the whole shard is done."""
        waiting: deque[_Plan] = deque()

        def shards() -> Iterator[tuple[Job, ...]]:
            for plan in self._planned():
                waiting.append(plan)
                if plan.jobs:
                    yield tuple(plan.jobs)

        for scored in engine.map(self.work, shards()):
            while not waiting[0].jobs:
                yield waiting.popleft()
            yield self._finished(waiting.popleft(), scored)
        yield from waiting

    def _planned(self) -> Iterator[_Plan]:
        names = sorted(self.by_utterance)
        for start in range(0, len(names), self.size):
            shard = [record for name in names[start : start + self.size] for record in self.by_utterance[name]]
            plan = _Plan(records=shard)
            for metric in self.metrics:
                plan.jobs.extend(self._jobs(metric, self._unknown(metric.spec, plan)))
            yield plan

    def _unknown(self, spec: MetricSpec, plan: _Plan) -> list[GenerationRecord]:
        """Records that the scorer must see; the others' cells go into the plan."""
        unknown = []
        for record in plan.records:
            if record.role not in spec.roles:
                continue
            known, key = _without_scoring(spec, self.versions[spec.name], record, self.references, self.store)
            if known is None:
                unknown.append(record)
                plan.keys[spec.name, record.item_id] = key
            else:
                plan.results[spec.name, record.item_id] = known
        return unknown

    def _jobs(self, metric: Metric, records: Sequence[GenerationRecord]) -> Iterator[Job]:
        size = batch_size(metric.spec, self.device)
        for start in range(0, len(records), size):
            batch = records[start : start + size]
            references = {r.utterance_id: self.references[r.utterance_id] for r in batch
                          if r.utterance_id in self.references}  # fmt: skip
            yield Job(
                scorer=metric.spec.name,
                records=tuple(plain(record) for record in batch),
                references={name: plain(record) for name, record in references.items()},
            )

    def _finished(self, plan: _Plan, scored: Sequence[Sequence[Sequence[Cell]]]) -> _Plan:
        fresh: dict[str, Sequence[Cell]] = {}
        for job, found in zip(plan.jobs, scored, strict=True):
            for record, cells in zip(job.records, found, strict=True):
                place = (job.scorer, record.item_id)
                plan.results[place] = fresh[plan.keys[place]] = cells
        self.store.add(fresh)
        return plan


def _shard_size(n_utterances: int, device: str) -> int:
    most = SHARD_UTTERANCES if device == "cpu" else SHARD_UTTERANCES * ACCELERATOR_FACTOR
    return min(most, max(1, n_utterances // SHARDS))


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


def score_row(record: GenerationRecord, scorer: str, version: str, cell: Cell, run_id: str) -> dict[str, object]:
    """One row of the ScoreFrame."""
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
