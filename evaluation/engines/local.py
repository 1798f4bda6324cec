"""The engine of one process: this one. What a shard does to its worker, it does to the run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from evaluation.engines.interface import Work

__all__ = ["LocalEngine"]

S = TypeVar("S")
R = TypeVar("R")


class LocalEngine:
    """One shard after the other. No time limit holds here and no death is survived."""

    name = "local"

    def map(self, work: Work[S, R], shards: Iterable[S]) -> Iterator[R]:
        function = None
        for shard in shards:
            function = function or work.open()
            yield function(shard)

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *error: object) -> None:
        return None
