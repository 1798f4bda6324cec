"""Shards made in several processes; each loads the system for itself and leaves its tables in the run folder."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

from evaluation.config import RunConfig
from evaluation.discovery import discover_generators, pick
from evaluation.generation_shards import ShardJob, make_shard
from evaluation.records import Utterance
from evaluation.run_folder import RunFolder
from evaluation.threads import one_thread, start_worker

__all__ = ["make_shards_in_processes"]

logger = logging.getLogger(__name__)


def make_shards_in_processes(job: ShardJob, shards: Mapping[int, Sequence[Utterance]], processes: int) -> Iterator[int]:
    """Make numbered shards; gives each number as its shard is done.

    Where a process dies, the numbers that were not given are left to the caller.
    """
    arguments = (str(job.run.path), job.config, job.system, job.system_sha256, os.getpid())
    context = multiprocessing.get_context("spawn")  # a fork would copy the thread pools of torch mid-flight
    pool = ProcessPoolExecutor(min(processes, len(shards)), context, _start, arguments)
    try:
        waiting = {pool.submit(_make, number, _portable(shard)): number for number, shard in shards.items()}
        for future in as_completed(waiting):
            future.result()
            yield waiting[future]
    except BrokenProcessPool:
        logger.warning("a process that generates died; going on in one process")
    finally:
        pool.shutdown(cancel_futures=True)


def _portable(shard: Sequence[Utterance]) -> list[Utterance]:
    return [replace(utterance, groups=dict(utterance.groups)) for utterance in shard]


_job: list[ShardJob] = []
"""The one job of a worker process; empty in every other process."""


def _start(folder: str, config: RunConfig, system: str, system_sha256: str, parent: int) -> None:
    start_worker(parent)
    generator = pick(discover_generators(), config.system, "system").load(config.checkpoint, config.device)
    run = RunFolder(Path(folder))
    _job.append(ShardJob(run=run, config=config, generator=generator, system=system, system_sha256=system_sha256))


def _make(number: int, shard: Sequence[Utterance]) -> None:
    with one_thread(_job[0].config.device):
        make_shard(_job[0], number, shard)
