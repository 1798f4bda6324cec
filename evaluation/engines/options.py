"""Which engine, and how large; ``--engine``, ``--workers`` and what belongs to Ray."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

from evaluation.engines.interface import Engine

__all__ = ["ENGINES", "EngineOptions", "cpu_count", "engine_of", "open_engine"]

ENGINES = ("local", "processes", "ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """``name``: one of ``ENGINES``, or empty for ``local`` with one worker and ``processes`` with several.

    ``workers`` 0 leaves the number to Ray's resources. ``address``: a Ray cluster's (``auto``, ``HOST:PORT``,
    ``ray://HOST:PORT``); empty starts Ray on this machine. ``gpus_per_worker``: share of a GPU that each Ray worker
    takes, e.g. 0.25 puts four on one. ``item_limit_s``: how long one item may take before its worker is ended and the
    item marked; 0 for as long as it likes.
    """

    name: str = ""
    workers: int = 1
    address: str = ""
    gpus_per_worker: float = 0.0
    item_limit_s: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in ("", *ENGINES):
            raise ValueError(f"there is no engine {self.name!r}; use one of {', '.join(ENGINES)}")
        if self.workers < 1 and not (self.name == "ray" and self.workers == 0):
            raise ValueError(f"workers is {self.workers}; use at least 1")
        if self.name != "ray" and (self.address or self.gpus_per_worker):
            raise ValueError("--address and --gpus-per-worker belong to --engine ray; name it, or leave them out")
        if self.gpus_per_worker < 0:
            raise ValueError(f"gpus_per_worker is {self.gpus_per_worker:g}; use 0 or a share of a GPU such as 0.25")
        if not 0 <= self.item_limit_s < float("inf"):
            raise ValueError(f"item_limit_s is {self.item_limit_s:g}; use seconds above 0, or 0 for no limit")
        if self.item_limit_s and self.kind == "local":
            raise ValueError(
                "a time limit per item needs a process that can be ended; use --engine processes (one is enough:"
                " --workers 1)"
            )

    @property
    def kind(self) -> str:
        """The engine that this means."""
        return self.name or ("processes" if self.workers > 1 else "local")


def engine_of(workers: int, engine: EngineOptions | None, *, shards: int | None = None) -> EngineOptions:
    """The options given, or ``workers`` processes; one process where no engine was named and there is one shard."""
    options = EngineOptions(workers=workers) if engine is None else engine
    alone = not options.name and not options.item_limit_s and shards is not None and shards <= 1
    return replace(options, workers=1) if alone else options


def open_engine(options: EngineOptions) -> Engine:
    """An engine ready to map; nothing is started before it is given shards, but for Ray's connection.

    Raises:
        ValueError: Ray is not installed, or there is no cluster at the address.
    """
    if options.kind == "ray":
        from evaluation.engines.ray_cluster import RayEngine

        return RayEngine(options)
    if options.kind == "processes":
        from evaluation.engines.processes import ProcessEngine

        return ProcessEngine(options.workers)
    from evaluation.engines.local import LocalEngine

    return LocalEngine()


def cpu_count() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
