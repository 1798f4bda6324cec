"""Work for tests of the engines: numbers squared, with shards that sleep, kill, hang or raise; imported by workers."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from evaluation.engines import Work

Numbers = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Squares(Work[Numbers, list[object]]):
    """Squares of the numbers; ``poison`` kills its worker, ``hangs`` never ends, ``raises`` is an error.

    ``first``: a file that the first worker to start lays down, and for which later ones take their time to start.
    Every shard that was worked on leaves a line in ``log``: process and numbers.
    """

    log: str = ""
    poison: int = -1
    hangs: int = -1
    raises: int = -1
    error: str = "ValueError"
    limit_s: float = 0.0
    pause_s: float = 0.0
    dies_at_start: bool = False
    first: str = ""

    def open(self) -> Callable[[Numbers], list[object]]:
        if self.dies_at_start:
            os._exit(3)
        if self.first and Path(self.first).exists():
            time.sleep(1.5)
        elif self.first:
            Path(self.first).touch()
        if self.log:
            with Path(self.log).open("a") as stream:
                stream.write(f"open {os.getpid()}\n")
        return self._squares

    def _squares(self, shard: Numbers) -> list[object]:
        if self.log:
            with Path(self.log).open("a") as stream:
                stream.write(f"{os.getpid()} {shard}\n")
        time.sleep(self.pause_s * (1 + shard[0] % 3))
        if self.poison in shard:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.hangs in shard:
            time.sleep(600)
        if self.raises in shard:
            kinds = {"ValueError": ValueError, "KeyError": KeyError, "full disk": partial(OSError, errno.ENOSPC)}
            raise kinds[self.error]("not this number")
        return [number**2 for number in shard]

    def items(self, shard: Numbers) -> Sequence[Numbers]:
        return [(number,) for number in shard]

    def join(self, shard: Numbers, results: Sequence[list[object]]) -> list[object]:
        return [one for part in results for one in part]

    def lost(self, shard: Numbers, reason: str) -> list[object]:
        return [reason for _ in shard]

    def time_limit_s(self, shard: Numbers) -> float:
        return self.limit_s * len(shard)


def shards_of(count: int, size: int = 4) -> list[Numbers]:
    return [tuple(range(size * number, size * (number + 1))) for number in range(count)]
