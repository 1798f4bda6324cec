"""The engine of a cluster: one Ray actor per worker, on whatever node has room for it.

Actors of Ray Core and not Ray Data: a shard must be known by its actor when that dies (so that a killer is isolated,
and a lost machine is nobody's fault), a hanging one must be killable at its time limit, and results must come in order
without being kept. Ray Data hides which block was where and retries by itself. The loop is that of the process engine
(``dispatch.py``). Ray's usage reports and dashboard stay off.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any, TypeVar

from evaluation.engines.answers import OTHER, RAISED, Answer, answer, opened
from evaluation.engines.dispatch import Died, dispatch
from evaluation.engines.interface import Work
from evaluation.engines.options import EngineOptions, cpu_count

__all__ = ["SETTINGS", "RayEngine"]

S = TypeVar("S")
R = TypeVar("R")

SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_worker_niceness": "0"}
"""No reports to Ray's makers; actors without a GPU share keep the variables of their machine; and workers of a Ray that
we start run at the priority of those of ``processes`` (Ray's niceness of 15 starves them beside any other work)."""


class RayEngine:
    """Connects to the cluster at once; actors are started when shards come and end with the map.

    ``workers`` 0 takes as many as the cluster's processors (or GPU shares) allow.
    """

    name = "ray"

    def __init__(self, options: EngineOptions) -> None:
        self._ray = _imported()
        self._options = options
        self._ours = not self._ray.is_initialized()
        if self._ours:
            self._connect()
        self.workers = options.workers or self._room()

    def map(self, work: Work[S, R], shards: Iterable[S]) -> Iterator[R]:
        pool = _Pool(self._ray, work.portable(), self._options.gpus_per_worker)
        try:
            yield from dispatch(pool, self.workers, work, shards)
        finally:
            pool.kill_all()

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *error: object) -> None:
        if self._ours:
            self._ray.shutdown()

    def _connect(self) -> None:
        address = self._options.address
        local = {} if address else {"num_cpus": max(self._options.workers, cpu_count()), "include_dashboard": False}
        try:
            self._ray.init(
                address=address or "local",
                logging_level=logging.ERROR,
                log_to_driver=False,
                configure_logging=False,
                **local,
            )
        except Exception as error:  # a node that is not up within Ray's 30 s is a plain Exception
            self._ray.shutdown()
            where = f"at {address}" if address else "on this machine"
            what = str(error).strip().split("\n")[0] or type(error).__name__
            raise ValueError(
                f"--engine ray: no cluster could be reached {where} ({what}); try again where the machine"
                " is less busy, or start Ray before (ray start --head) and name it with --address auto"
            ) from error

    def _room(self) -> int:
        resources: dict[str, float] = self._ray.cluster_resources()
        share = self._options.gpus_per_worker
        room = int(resources.get("GPU", 0.0) / share + 1e-9) if share else int(resources.get("CPU", 0.0))
        if room < 1:
            what = f"a GPU share of {share:g}" if share else "a processor"
            raise ValueError(f"--engine ray: the cluster has no room for {what}; it has {dict(resources)}")
        return room


def _imported() -> Any:
    if find_spec("ray") is None:
        raise ValueError("--engine ray needs Ray; install it with pip install 'audiolm-audit[ray]'")
    os.environ.update({name: os.environ.get(name, value) for name, value in SETTINGS.items()})
    import ray  # pyright: ignore[reportMissingImports]

    return ray


class _Worker:
    """The actor's side."""

    def __init__(self, work: Work[Any, Any]) -> None:
        self._function, self._first = opened(work)

    def ready(self) -> tuple[Answer, str]:
        import ray  # pyright: ignore[reportMissingImports]

        return self._first, ray.get_runtime_context().get_node_id()

    def answer(self, shard: Any) -> Answer:
        return answer(self._function, shard) if self._function else self._first


class _Pool:
    """Actors by number; each has one call under way."""

    def __init__(self, ray: Any, work: Work[Any, Any], gpus_per_worker: float) -> None:
        self._ray, self._work = ray, ray.put(work)
        # no restart and no retry by Ray: dispatch decides what a death means
        self._actor = ray.remote(_Worker).options(
            num_cpus=1, num_gpus=gpus_per_worker, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        self._members: dict[int, Any] = {}
        self._nodes: dict[int, str] = {}
        self._calls: dict[Any, int] = {}
        self._started = 0

    def start(self) -> int:
        self._started += 1
        actor = self._actor.remote(self._work)
        self._members[self._started] = actor
        self._calls[actor.ready.remote()] = self._started
        return self._started

    def send(self, worker: int, shard: Any) -> None:
        self._calls[self._members[worker].answer.remote(shard)] = worker

    def events(self, timeout_s: float | None) -> list[tuple[int, Answer | Died]]:
        done, _ = self._ray.wait(list(self._calls), num_returns=1, timeout=timeout_s)
        return [(worker, event) for call in done for worker, event in self._event(call)]

    def kill(self, worker: int) -> None:
        actor = self._members.pop(worker)
        self._calls = {call: one for call, one in self._calls.items() if one != worker}
        self._ray.kill(actor)

    def kill_all(self) -> None:
        for worker in list(self._members):
            self.kill(worker)

    def _event(self, call: Any) -> Iterator[tuple[int, Answer | Died]]:
        worker = self._calls.pop(call)
        errors = self._ray.exceptions
        try:
            found = self._ray.get(call)
        except errors.OutOfMemoryError:
            event = Died("ran out of memory")
        except errors.RayActorError as error:
            event = Died(_first_line(error), counts=self._node_lives(worker))
        except errors.RayTaskError as error:  # the actor's own code failed, e.g. a module is missing there
            yield worker, (RAISED, OTHER, str(error))
            return
        else:
            if isinstance(found[0], tuple):
                found, self._nodes[worker] = found
            yield worker, found
            return
        self.kill(worker)
        yield worker, event

    def _node_lives(self, worker: int) -> bool:
        """Whether the machine of a worker still stands; one that never came up is no shard's fault either way."""
        node = self._nodes.get(worker)
        return any(one["Alive"] and one["NodeID"] == node for one in self._ray.nodes())


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return f"was lost ({text.splitlines()[0] if text else type(error).__name__})"
