"""Who scores the batches of a shard: this process, or several that each hold their own scorers.

Worker processes find scorers by name in the plug-in folders, so they serve scorers that live there. A worker that dies
takes down only the item it was working on.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from evaluation.metrics import Metric
from evaluation.records import GenerationRecord
from evaluation.score_batches import LoadedScorer, all_cells, score_batch
from evaluation.score_inputs import ClipStore
from evaluation.score_store import Cell
from evaluation.scorers import available_scorers
from evaluation.threads import one_thread, start_worker

__all__ = ["Job", "Workers", "cpu_count", "score_workers"]

ScorersFrom = Callable[[str], Mapping[str, Metric]]
MAX_DEATHS = 3
"""When this many items in a row each kill their process, it is not the items."""
SPLIT = 8
"""Each worker gets about this many parts of a scorer's share of a shard, so that none waits long for another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A batch for one scorer, with the reference records its prompts come from."""

    scorer: str
    records: tuple[GenerationRecord, ...]
    references: Mapping[str, GenerationRecord]


class Workers(Protocol):
    """Scores the jobs of one shard; gives ``(number of the job, cells per record)`` as they are done."""

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, list[list[Cell]]]]: ...

    def batch_size(self, metric: Metric, n_items: int) -> int: ...


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def score_workers(
    folder: Path,
    metrics: Sequence[Metric],
    device: str,
    processes: int,
    scorers_from: ScorersFrom = available_scorers,
) -> Iterator[Workers]:
    """Workers for one run folder; one process means this one. ``scorers_from`` finds the scorers in a new process."""
    if processes < 1:
        raise ValueError(f"workers is {processes}; use at least 1")
    if processes == 1:
        yield _InProcess(folder, metrics, device)
        return
    pool = _Processes(folder, metrics, device, processes, scorers_from)
    try:
        yield pool
    finally:
        pool.close()


class _InProcess:
    def __init__(self, folder: Path, metrics: Sequence[Metric], device: str) -> None:
        self._folder, self._device = folder, device
        self._scorers = {metric.spec.name: LoadedScorer(metric, device) for metric in metrics}

    def batch_size(self, metric: Metric, n_items: int) -> int:
        return metric.spec.batch_size

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, list[list[Cell]]]]:
        clips = ClipStore(self._folder)
        for number, job in enumerate(jobs):
            with one_thread(self._device):
                cells = score_batch(self._scorers[job.scorer], job.records, job.references, clips)
            yield number, cells


class _Processes:
    def __init__(
        self, folder: Path, metrics: Sequence[Metric], device: str, processes: int, scorers_from: ScorersFrom
    ) -> None:
        self._arguments = (str(folder), device, os.getpid(), scorers_from)
        self._deaths = 0
        self._metrics = {metric.spec.name: metric for metric in metrics}
        self._processes = processes
        self._pool: ProcessPoolExecutor | None = None

    def batch_size(self, metric: Metric, n_items: int) -> int:
        return max(1, min(metric.spec.batch_size, -(-n_items // (self._processes * SPLIT))))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[int, list[list[Cell]]]]:
        waiting: dict[Future[list[list[Cell]]], int] = {}
        lost: list[int] = []
        for number, job in enumerate(jobs):
            waiting[self._submit(job)] = number
        while waiting:
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                number = waiting.pop(future)
                try:
                    yield number, future.result()
                except BrokenProcessPool:
                    lost.append(number)
        for number in sorted(lost):
            yield number, [self._alone(jobs[number], record) for record in jobs[number].records]

    def _alone(self, job: Job, record: GenerationRecord) -> list[Cell]:
        if self._deaths >= MAX_DEATHS:
            raise ChildProcessError(
                f"{self._deaths} worker processes died one after another, the last on {job.scorer} and"
                f" {record.item_id}; run with --workers 1 to see why"
            )
        try:
            cells = self._submit(replace(job, records=(record,))).result()[0]
        except BrokenProcessPool:
            self._deaths += 1
            return all_cells(self._metrics[job.scorer].spec, "failed", "the scorer's process died on this item")
        self._deaths = 0
        return cells

    def _submit(self, job: Job) -> Future[list[list[Cell]]]:
        try:
            return self._started().submit(_work, _portable(job))
        except BrokenProcessPool:
            self.close()
            return self._started().submit(_work, _portable(job))

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # a fork would copy the thread pools of torch mid-flight
            self._pool = ProcessPoolExecutor(self._processes, context, _start, self._arguments)
        return self._pool


def _portable(job: Job) -> Job:
    """Without what cannot travel between processes and no scorer needs."""
    return replace(
        job,
        records=tuple(replace(record, groups={}) for record in job.records),
        references={name: replace(record, groups={}) for name, record in job.references.items()},
    )


class _Worker:
    """What a worker process keeps: its scorers, loaded when first asked for."""

    def __init__(self, folder: str, device: str, scorers_from: ScorersFrom) -> None:
        self.scorers = {name: LoadedScorer(metric, device) for name, metric in scorers_from(device).items()}
        self.folder, self.device = Path(folder), device

    def work(self, job: Job) -> list[list[Cell]]:
        with one_thread(self.device):
            return score_batch(self.scorers[job.scorer], job.records, job.references, ClipStore(self.folder))


_worker: list[_Worker] = []
"""The one worker of a worker process; empty in every other process."""


def _start(folder: str, device: str, parent: int, scorers_from: ScorersFrom) -> None:
    start_worker(parent)
    _worker.append(_Worker(folder, device, scorers_from))


def _work(job: Job) -> list[list[Cell]]:
    return _worker[0].work(job)
