"""What an engine is given and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

__all__ = ["Engine", "Work"]

S = TypeVar("S")
R = TypeVar("R")


class Work(Generic[S, R]):
    """A function over shards, and what is to be done where a shard takes its worker down.

    :meth:`portable` and shards travel to other processes and machines, so they are plain values. :meth:`items`,
    :meth:`join`, :meth:`lost` and :meth:`time_limit_s` are called where the engine is, never in a worker.
    """

    def open(self) -> Callable[[S], R]:
        """The function; called once in each worker, so this is where models are loaded."""
        raise NotImplementedError

    def portable(self) -> Work[S, R]:
        """This work without what cannot leave the process."""
        return self

    def items(self, shard: S) -> Sequence[S]:
        """A shard as shards of one item, by which the item is found that kills its worker."""
        return [shard]

    def join(self, shard: S, results: Sequence[R]) -> R:
        """The result of a shard from those of :meth:`items`, in their order."""
        raise NotImplementedError

    def lost(self, shard: S, reason: str) -> R:
        """The result of a shard of one item that took its worker down: its rows, marked, with the reason."""
        raise NotImplementedError

    def time_limit_s(self, shard: S) -> float:
        """How long a worker may take for the shard before it is killed; 0 means as long as it likes."""
        return 0.0


class Engine(Protocol):
    """Maps work over shards; close it when done (it is a context manager)."""

    name: str

    def map(self, work: Work[S, R], shards: Iterable[S]) -> Iterator[R]:
        """Results in the order of ``shards``, which are taken as they are needed, a bounded number ahead.

        A shard whose worker dies is tried again, then item by item; an item that keeps killing its worker, or passes
        the time limit, has the result :meth:`Work.lost`. The engine ``local`` can do neither.

        Raises:
            ValueError: the function raised it.
            ChildProcessError: the function raised something else, or workers die whatever they are given.
        """
        ...

    def __enter__(self) -> Engine: ...

    def __exit__(self, *error: object) -> None: ...
