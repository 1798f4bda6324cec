"""Step 3 of a run: every item by every scorer, to ``scores.parquet`` and ``measures.json``.

Shard outer, scorer inner: a shard's clips are decoded once and resampled once per rate, then every scorer sees them
in batches. Results are kept by content, so a rerun computes only what changed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import pandas as pd

from evaluation.frames import SCHEMA_VERSION, SCORE_SCHEMA, write_scores
from evaluation.metrics import Metric, MetricSpec, Outcome, ScoreInput, Skipped
from evaluation.progress import Progress, silent
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder, write_json
from evaluation.score_inputs import ClipStore, content_key, precondition, references_of, score_input
from evaluation.score_store import Cell, ScoreStore
from evaluation.scorers import scorer_version

__all__ = ["SHARD_UTTERANCES", "describe_measures", "item_measures", "score_items"]

logger = logging.getLogger(__name__)

SHARD_UTTERANCES = 16
Score = Callable[[Sequence[ScoreInput]], list[Outcome]]


@dataclass(slots=True)
class _Scorer:
    """A metric in use: loaded when the first clip needs it."""

    metric: Metric
    device: str
    version: str = field(init=False)
    _score: Score | None = None

    def __post_init__(self) -> None:
        self.version = scorer_version(self.metric)

    def score(self, batch: Sequence[ScoreInput]) -> list[Outcome]:
        if self._score is None:
            self._score = self.metric.load(self.device)
        outcomes = self._score(batch)
        if len(outcomes) != len(batch):
            raise ValueError(f"gave {len(outcomes)} outcomes for {len(batch)} items")
        return outcomes


def score_items(
    run: RunFolder,
    records: Sequence[GenerationRecord],
    metrics: Sequence[Metric],
    *,
    run_id: str,
    device: str = "cpu",
    progress: Progress = silent,
    shard_utterances: int = SHARD_UTTERANCES,
) -> pd.DataFrame:
    """Score what is not known yet, write ``measures.json`` and ``scores.parquet``, return the ScoreFrame.

    An item is scored by a metric when its role is among the metric's roles. An item without a clip, a failed
    precondition and an error each leave rows with their reason.
    """
    write_json(run.measures, describe_measures([metric.spec for metric in metrics]))
    store = ScoreStore(run.work("scores"))
    scorers = [_Scorer(metric, device) for metric in metrics]
    references = references_of(list(records))
    by_utterance: dict[str, list[GenerationRecord]] = {}
    for record in sorted(records, key=lambda record: record.item_id):
        by_utterance.setdefault(record.utterance_id, []).append(record)
    names = sorted(by_utterance)
    rows: list[dict[str, object]] = []
    with progress("score", len(records)) as advance:
        for start in range(0, len(names), shard_utterances):
            shard = [record for name in names[start : start + shard_utterances] for record in by_utterance[name]]
            rows.extend(_shard_rows(run, shard, references, scorers, store, run_id))
            advance(len(shard))
    frame = pd.DataFrame(rows, columns=SCORE_SCHEMA.names)
    write_scores(run.scores, frame)
    return frame


def describe_measures(specs: Sequence[MetricSpec]) -> list[dict[str, object]]:
    """The entries of ``measures.json``: each measure with its scorer's title and protocol."""
    entries = []
    for spec in specs:
        for measure in spec.measures:
            entry = asdict(measure)
            entry["measure"] = entry.pop("name")
            entries.append(entry | {"scorer": spec.name, "scorer_title": spec.title, "protocol": _protocol(spec)})
    return sorted(entries, key=lambda entry: (str(entry["scorer"]), str(entry["measure"])))


def item_measures(spec: MetricSpec) -> list[str]:
    """Names of the measures a scorer gives per item: all but ratios, which are made from their parts."""
    return [measure.name for measure in spec.measures if measure.aggregate != "ratio_of_sums"]


def _protocol(spec: MetricSpec) -> dict[str, object]:
    return {
        "sample_rate_hz": spec.sample_rate_hz,
        "min_duration_s": spec.min_duration_s,
        "min_duration_source": spec.min_duration_source,
        "needs": sorted(spec.needs),
        "roles": list(spec.roles),
        "version": spec.version,
    }


def _shard_rows(
    run: RunFolder,
    shard: Sequence[GenerationRecord],
    references: Mapping[str, GenerationRecord],
    scorers: Sequence[_Scorer],
    store: ScoreStore,
    run_id: str,
) -> list[dict[str, object]]:
    clips = ClipStore(run.path)
    rows: list[dict[str, object]] = []
    fresh: dict[str, Sequence[Cell]] = {}
    for scorer in scorers:
        spec = scorer.metric.spec
        waiting: list[tuple[str, GenerationRecord]] = []
        results: dict[str, Sequence[Cell]] = {}
        for record in shard:
            if record.role not in spec.roles:
                continue
            known, key = _without_scoring(spec, scorer.version, record, references, store)
            if known is None:
                waiting.append((key, record))
            else:
                results[record.item_id] = known
        for size in range(0, len(waiting), spec.batch_size):
            batch = waiting[size : size + spec.batch_size]
            scored = _score_batch(scorer, [record for _, record in batch], references, clips)
            for (key, record), cells in zip(batch, scored, strict=True):
                results[record.item_id] = fresh[key] = cells
        for record in shard:
            for cell in results.get(record.item_id, ()):
                rows.append(_row(record, spec.name, scorer.version, cell, run_id))
    store.add(fresh)
    return rows


def _without_scoring(
    spec: MetricSpec,
    version: str,
    record: GenerationRecord,
    references: Mapping[str, GenerationRecord],
    store: ScoreStore,
) -> tuple[Sequence[Cell] | None, str]:
    """Cells that need no scorer (no clip, precondition, known by content) or None, and the content key."""
    if record.status != "ok":
        return _all(spec, record.status, f"no clip: {record.reason}"), ""
    reference = references.get(record.utterance_id)
    reason = precondition(spec, record, reference)
    if reason:
        return _all(spec, "skipped", reason), ""
    key = content_key(spec, version, record, reference)
    return store.get(key), key


def _score_batch(
    scorer: _Scorer,
    records: Sequence[GenerationRecord],
    references: Mapping[str, GenerationRecord],
    clips: ClipStore,
) -> list[Sequence[Cell]]:
    """Cells per record; where the batch raises, each item alone, so that only the one at fault fails."""
    spec = scorer.metric.spec
    try:
        inputs = [score_input(spec, record, references.get(record.utterance_id), clips) for record in records]
        return [_cells(spec, outcome) for outcome in scorer.score(inputs)]
    except Exception as error:  # a plug-in may fail in any way; the run must outlive it
        logger.warning("%s failed on %d items: %s: %s", spec.name, len(records), type(error).__name__, error)
        if len(records) == 1:
            return [_all(spec, "failed", f"{type(error).__name__}: {error}")]
        return [_score_batch(scorer, [record], references, clips)[0] for record in records]


def _cells(spec: MetricSpec, outcome: Outcome) -> list[Cell]:
    if isinstance(outcome, Skipped):
        return _all(spec, "skipped", outcome.reason or "the scorer gave no reason")
    cells = []
    for name in item_measures(spec):
        value = outcome.get(name)
        if value is None:
            cells.append(Cell(name, math.nan, "failed", f"the scorer gave no {name}"))
        elif not math.isfinite(value):
            cells.append(Cell(name, math.nan, "failed", f"the scorer gave {value} for {name}"))
        else:
            cells.append(Cell(name, float(value)))
    return cells


def _all(spec: MetricSpec, status: str, reason: str) -> list[Cell]:
    return [Cell(name, math.nan, status, reason) for name in item_measures(spec)]


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
