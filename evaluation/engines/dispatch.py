"""Shards to workers and results back in order: what processes and Ray have in common.

A worker has one shard at a time, so a death is always that shard's. It is tried again whole (a machine may have gone,
and results of a whole shard are those of an undisturbed run), then item by item. Only so many shards are taken ahead
of the oldest unfinished one.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from evaluation.engines.answers import DONE, MEMORY, RAISED, READY, Answer, raise_error
from evaluation.engines.interface import Work

__all__ = ["Died", "Transport", "dispatch"]

logger = logging.getLogger(__name__)

TRIES = 2
"""How often a shard, and then each item of it alone, may take a worker down."""
AHEAD = 4
"""Shards per worker between the oldest unfinished one and the newest taken."""
PATIENCE_S = 60.0
"""After so long without any worker that is ready, the log says so; a cluster may be waiting for room."""
MAX_STARTS = 3
"""This many workers in a row that die before they are ready: it is not the shards."""
MAX_LOST_AT_FIRST, MAX_LOST = 3, 100
"""Items lost in a row to dying workers, before and after the first success: it is not the items."""


@dataclass(frozen=True, slots=True)
class Died:
    """A worker is gone; ``counts`` is False where its machine went, which no shard is to blame for."""

    reason: str
    counts: bool = True


class Transport(Protocol):
    """Workers by number, wherever they are."""

    def start(self) -> int:
        """Start a worker; it answers ``READY`` when its models are loaded."""
        ...

    def send(self, worker: int, shard: Any) -> None: ...

    def events(self, timeout_s: float | None) -> list[tuple[int, Answer | Died]]:
        """Wait until something happened, at most so long."""
        ...

    def kill(self, worker: int) -> None:
        """End a worker at once; no event of it follows."""
        ...


@dataclass(slots=True)
class _Task:
    """A shard, or one item of it; ``parts`` are filled where it was split."""

    shard: Any
    whole: _Task | None = None
    place: int = 0
    deaths: int = 0
    result: Any = None
    done: bool = False
    parts: list[_Task] = field(default_factory=list)


def dispatch(transport: Transport, workers: int, work: Work[Any, Any], shards: Iterable[Any]) -> Iterator[Any]:
    """Results in order of the shards."""
    return _Dispatch(transport, workers, work).run(iter(shards))


class _Dispatch:
    def __init__(self, transport: Transport, workers: int, work: Work[Any, Any]) -> None:
        self.transport, self.workers, self.work = transport, workers, work
        self.window: deque[_Task] = deque()
        self.queue: deque[_Task] = deque()
        self.starting: set[int] = set()
        self.idle: list[int] = []
        self.busy: dict[int, tuple[_Task, float]] = {}
        self.failed_starts = self.lost = 0
        self.succeeded = False

    def run(self, shards: Iterator[Any]) -> Iterator[Any]:
        more = True
        while more or self.window:
            while more and len(self.window) < AHEAD * self.workers:
                try:
                    task = _Task(next(shards))
                except StopIteration:
                    more = False
                    break
                self.window.append(task)
                self.queue.append(task)
                self._assign()
            self._assign()
            self._wait(0.0)  # a consumer that takes its time must not leave workers idle
            while self.window and self.window[0].done:
                yield self.window.popleft().result
                if more:
                    break
            else:
                if self.window:
                    self._wait()

    def _assign(self) -> None:
        while self.queue and self.idle:
            worker, task = self.idle.pop(), self.queue.popleft()
            limit_s = self.work.time_limit_s(task.shard)
            self.busy[worker] = (task, time.monotonic() + limit_s if limit_s else 0.0)
            self.transport.send(worker, task.shard)
        room = self.workers - len(self.busy) - len(self.idle)
        while len(self.starting) < min(room, len(self.queue)):
            self.starting.add(self.transport.start())

    def _wait(self, timeout_s: float | None = None) -> None:
        if not self.busy and not self.starting:
            return
        deadlines = [deadline for _, deadline in self.busy.values() if deadline]
        if deadlines and timeout_s is None:
            timeout_s = max(0.0, min(deadlines) - time.monotonic())
        patience_s = PATIENCE_S if timeout_s is None and not self.busy else timeout_s
        events = self.transport.events(patience_s)
        if not events and patience_s == PATIENCE_S:
            logger.warning("no worker is ready after %g s; is there room for one?", PATIENCE_S)
        for worker, event in events:
            self._happened(worker, event)
        now = time.monotonic()
        for worker, (task, deadline) in list(self.busy.items()):
            if deadline and deadline <= now:
                self.transport.kill(worker)
                del self.busy[worker]
                limit_s = self.work.time_limit_s(task.shard)
                self._again(task, f"took longer than {limit_s:g} s and was stopped", tries=1, is_death=False)
        self._assign()

    def _happened(self, worker: int, event: Answer | Died) -> None:
        if isinstance(event, Died):
            self._died(worker, event)
        elif event[0] == RAISED:
            raise_error(event)
        elif event[0] == READY:
            self.starting.discard(worker)
            self.idle.append(worker)
            self.failed_starts = 0
        elif event[0] == MEMORY:
            self.transport.kill(worker)
            self._died(worker, Died("ran out of memory"))
        elif event[0] == DONE:
            task, _ = self.busy.pop(worker)
            self.idle.append(worker)
            self.succeeded, self.lost = True, 0
            self._finish(task, event[1])

    def _died(self, worker: int, event: Died) -> None:
        if worker in self.starting:
            self.starting.discard(worker)
            self.failed_starts += event.counts
            if self.failed_starts >= MAX_STARTS:
                raise ChildProcessError(
                    f"{self.failed_starts} workers died one after another while they started ({event.reason});"
                    " run with --engine local to see why"
                )
            return
        if worker in self.idle:
            self.idle.remove(worker)
            return
        task, _ = self.busy.pop(worker)
        logger.warning("a worker is gone (%s); its shard is tried again", event.reason)
        if not event.counts:
            self.queue.appendleft(task)
            return
        self._again(task, event.reason, tries=TRIES, is_death=True)

    def _again(self, task: _Task, reason: str, *, tries: int, is_death: bool) -> None:
        task.deaths += 1
        if task.deaths < tries:
            self.queue.appendleft(task)
            return
        items = self.work.items(task.shard) if task.whole is None else [task.shard]
        if len(items) > 1:
            task.parts = [_Task(shard, whole=task, place=place) for place, shard in enumerate(items)]
            self.queue.extendleft(reversed(task.parts))
            return
        logger.warning("an item is given up: its worker %s", reason)
        self.lost += is_death
        if self.lost >= (MAX_LOST if self.succeeded else MAX_LOST_AT_FIRST):
            raise ChildProcessError(
                f"{self.lost} items one after another took their worker down, the last: {reason};"
                " run with --engine local to see why"
            )
        self._finish(task, self.work.lost(task.shard, reason))

    def _finish(self, task: _Task, result: Any) -> None:
        task.result, task.done = result, True
        whole = task.whole
        if whole is not None and all(part.done for part in whole.parts):
            whole.result = self.work.join(whole.shard, [part.result for part in whole.parts])
            whole.done, whole.parts = True, []
