"""The engine of one machine: worker processes that each load their models once.

Each has a pipe of its own and one shard at a time, so that a death is known at once and known whose it was.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

from evaluation.engines.answers import Answer, answer, opened
from evaluation.engines.dispatch import Died, dispatch
from evaluation.engines.interface import Work
from evaluation.threads import start_worker

__all__ = ["ProcessEngine"]

S = TypeVar("S")
R = TypeVar("R")

END_S = 5.0
"""How long a worker that was told to end may take."""


class ProcessEngine:
    """``workers`` processes, started when shards come; they end with the map."""

    name = "processes"

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(self, work: Work[S, R], shards: Iterable[S]) -> Iterator[R]:
        pool = _Pool(work.portable())
        try:
            yield from dispatch(pool, self.workers, work, shards)
            pool.dismiss()
        finally:
            pool.kill_all()

    def __enter__(self) -> ProcessEngine:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class _Pool:
    def __init__(self, work: Work[Any, Any]) -> None:
        self._work = work
        # a fork would copy the thread pools of torch in mid-flight
        self._context = multiprocessing.get_context("spawn")
        self._members: dict[int, tuple[BaseProcess, Connection]] = {}
        self._started = 0

    def start(self) -> int:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._work, os.getpid()), daemon=True)
        process.start()
        theirs.close()  # else its end would not be seen here
        self._started += 1
        self._members[self._started] = (process, ours)
        return self._started

    def send(self, worker: int, shard: Any) -> None:
        try:
            self._members[worker][1].send(shard)
        except (BrokenPipeError, ConnectionResetError):
            return  # it died between two shards: events() says so

    def events(self, timeout_s: float | None) -> list[tuple[int, Answer | Died]]:
        by_connection = {connection: worker for worker, (_, connection) in self._members.items()}
        found: list[tuple[int, Answer | Died]] = []
        for connection in wait(list(by_connection), timeout_s):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                found.append((worker, self._members[worker][1].recv()))
            except (EOFError, OSError):
                found.append((worker, Died(self._end(worker))))
        return found

    def kill(self, worker: int) -> None:
        process, connection = self._members.pop(worker)
        process.kill()
        process.join()
        connection.close()

    def dismiss(self) -> None:
        """Tell every worker to end; they have nothing in hand."""
        for _, connection in self._members.values():
            connection.close()
        for process, _ in self._members.values():
            process.join(END_S)

    def kill_all(self) -> None:
        for worker in list(self._members):
            self.kill(worker)

    def _end(self, worker: int) -> str:
        process, connection = self._members.pop(worker)
        process.join(END_S)
        connection.close()
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
            return "closed its pipe and stayed"
        if code < 0:
            known = {one.value: one.name for one in signal.Signals}
            return f"was killed by {known.get(-code, f'signal {-code}')}"
        return f"ended with exit status {code}"


def _serve(connection: Connection, work: Work[Any, Any], parent: int) -> None:
    """The life of a worker process."""
    start_worker(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle; it ends its workers
    function, message = opened(work)
    try:
        connection.send(message)
        while function is not None:
            connection.send(answer(function, connection.recv()))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the run is over, maybe before this worker had loaded its models
