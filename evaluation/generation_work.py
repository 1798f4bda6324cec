"""Generation as work for an engine: a shard is a few utterances in every role; each worker loads the system for itself.

Audio and the table of a shard are written by the worker, into the run folder, which every worker must see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evaluation.config import RunConfig
from evaluation.discovery import discover_generators, pick
from evaluation.engines import Work
from evaluation.generation_shards import ShardJob, keep_shard, lost_records, make_shard
from evaluation.protocols import Generator
from evaluation.records import GenerationRecord, Utterance
from evaluation.run_folder import RunFolder
from evaluation.threads import one_thread

__all__ = ["GenerationWork", "NumberedShard"]

Records = list[GenerationRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedShard:
    """Utterances and the number of their shard in the run; ``kept`` where its table is to be written."""

    number: int
    utterances: Sequence[Utterance]
    kept: bool = True

    def portable(self) -> NumberedShard:
        """With groups that can travel between processes."""
        return replace(self, utterances=[replace(one, groups=dict(one.groups)) for one in self.utterances])


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationWork(Work[NumberedShard, Records]):
    """``generator`` works in this process; elsewhere the system is loaded by the names in ``config``.

    ``item_limit_s``: how long one utterance may take in all its roles, 0 for as long as it likes.
    """

    folder: str
    config: RunConfig
    system: str
    system_sha256: str
    outside: bool
    generator: Generator | None = None
    item_limit_s: float = 0.0

    def open(self) -> Callable[[NumberedShard], Records]:
        generator = self.generator
        if generator is None and not self.outside:
            entry = pick(discover_generators(), self.config.system, "system")
            generator = entry.load(self.config.checkpoint, self.config.device)
        job, device = self._job(generator), self.config.device

        def make(shard: NumberedShard) -> Records:
            with one_thread(device):
                return make_shard(job, shard.number, shard.utterances, keep=shard.kept)

        return make

    def portable(self) -> GenerationWork:
        return replace(self, generator=None)

    def items(self, shard: NumberedShard) -> Sequence[NumberedShard]:
        return [replace(shard, utterances=[utterance], kept=False) for utterance in shard.utterances]

    def join(self, shard: NumberedShard, results: Sequence[Records]) -> Records:
        records = [record for part in results for record in part]
        keep_shard(self._job(self.generator), shard.number, shard.utterances, records)
        return records

    def lost(self, shard: NumberedShard, reason: str) -> Records:
        name = "the file's reader" if self.outside else f"{self.system}'s process"
        return lost_records(self._job(self.generator), shard.utterances, f"{name} {reason} on this utterance")

    def time_limit_s(self, shard: NumberedShard) -> float:
        return self.item_limit_s * len(shard.utterances)

    def _job(self, generator: Generator | None) -> ShardJob:
        run = RunFolder(Path(self.folder))
        return ShardJob(
            run=run, config=self.config, generator=generator, system=self.system, system_sha256=self.system_sha256
        )
