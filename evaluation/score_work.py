"""Scoring as work for an engine: a shard is a few utterances' batches for every scorer that has something to do.

Worker processes find scorers by name in the plug-in folders, so they serve scorers that live there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from evaluation.engines import Work
from evaluation.metrics import Metric
from evaluation.records import GenerationRecord
from evaluation.score_batches import LoadedScorer, all_cells, score_batch
from evaluation.score_inputs import ClipStore
from evaluation.score_store import Cell
from evaluation.scorers import available_scorers
from evaluation.threads import one_thread

__all__ = ["Job", "ScoreWork", "ScorersFrom", "plain"]

ScorersFrom = Callable[[str], Mapping[str, Metric]]
Shard = tuple["Job", ...]
Scored = list[list[list[Cell]]]
"""Cells by job and record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A batch for one scorer, with the reference records its prompts come from."""

    scorer: str
    records: tuple[GenerationRecord, ...]
    references: Mapping[str, GenerationRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreWork(Work[Shard, Scored]):
    """``metrics`` score in this process; elsewhere ``scorers_from`` finds scorers by device.

    ``item_limit_s``: how long one item may take by one scorer, 0 for as long as it likes.
    """

    folder: str
    device: str
    metrics: tuple[Metric, ...] = field(default=())
    scorers_from: ScorersFrom = available_scorers
    item_limit_s: float = 0.0

    def open(self) -> Callable[[Shard], Scored]:
        metrics = {metric.spec.name: metric for metric in self.metrics} or self.scorers_from(self.device)
        scorers = {name: LoadedScorer(metric, self.device) for name, metric in metrics.items()}
        folder, device = Path(self.folder), self.device

        def score(shard: Shard) -> Scored:
            clips = ClipStore(folder)
            with one_thread(device):
                return [score_batch(scorers[job.scorer], job.records, job.references, clips) for job in shard]

        return score

    def portable(self) -> ScoreWork:
        return replace(self, metrics=())

    def items(self, shard: Shard) -> Sequence[Shard]:
        return [(replace(job, records=(record,)),) for job in shard for record in job.records]

    def join(self, shard: Shard, results: Sequence[Scored]) -> Scored:
        left = iter(results)
        return [[next(left)[0][0] for _ in job.records] for job in shard]

    def lost(self, shard: Shard, reason: str) -> Scored:
        specs = {metric.spec.name: metric.spec for metric in self.metrics}
        return [
            [all_cells(specs[job.scorer], "failed", f"the scorer's process {reason} on this item") for _ in job.records]
            for job in shard
        ]

    def time_limit_s(self, shard: Shard) -> float:
        return self.item_limit_s * sum(len(job.records) for job in shard)


def plain(record: GenerationRecord) -> GenerationRecord:
    """Without what cannot travel between processes and no scorer needs."""
    return replace(record, groups={})
