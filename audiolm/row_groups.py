"""Rows of a batch in groups on several Python threads, for networks too small to be shared out operation by operation.

Waking a second thread for each of a thousand small matrix products a second costs more than it computes. Rows do not
depend on each other, so a small network draws a few of them on each thread instead, each group from its first token to
its last. How the groups are cut depends on the number of rows only: the number of threads changes no result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock

import numpy as np
import torch

__all__ = ["by_groups", "threads_each"]

GROUP_ROWS = 4
"""Rows that read the weights together. More gain little, and their keys and values no longer fit a core's cache."""


def by_groups(draw: Callable[[list[int]], Sequence[np.ndarray]], rows: int, *, small: bool) -> list[np.ndarray]:
    """``draw`` (row numbers to one result per row) over ``rows`` rows: all at once, or of a ``small`` network in
    groups, as many at a time as torch has threads."""
    if not small:
        return list(draw(list(range(rows))))
    count = -(-rows // GROUP_ROWS)
    groups = [list(range(rows * i // count, rows * (i + 1) // count)) for i in range(count)]
    threads = torch.get_num_threads()
    with threads_each(1):
        if min(threads, count) == 1:
            drawn = [draw(group) for group in groups]
        else:
            with ThreadPoolExecutor(min(threads, count)) as pool:
                drawn = list(pool.map(draw, groups))
    return [row for group in drawn for row in group]


_LOCK = Lock()
_INSIDE: list[int] = []
"""torch's number of threads before each :func:`threads_each` that is not over; the first was the caller's choice."""


@contextmanager
def threads_each(count: int) -> Iterator[None]:
    """Each of torch's operations on ``count`` threads, whichever thread calls it; the last to leave of several that
    overlap puts the number back."""
    with _LOCK:
        _INSIDE.append(torch.get_num_threads())
        torch.set_num_threads(count)
    try:
        yield
    finally:
        with _LOCK:
            before = _INSIDE[0]
            _INSIDE.pop()
            if not _INSIDE:
                torch.set_num_threads(before)
