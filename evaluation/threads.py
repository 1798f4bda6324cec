"""One thread per process on a CPU: how many cores a machine has must not change a single bit of a result."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["one_thread", "start_worker"]

PARENT_CHECK_S = 1.0


@contextmanager
def one_thread(device: str) -> Iterator[None]:
    """Numerical work on one thread inside; sums over several threads round differently. Nothing on other devices."""
    if device != "cpu":
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def start_worker(parent: int) -> None:
    """Call first in a worker process: one thread for numerical work, and an end when the parent process ends.

    After a kill -9 of the parent nobody else would tell its workers.
    """
    os.environ["OMP_NUM_THREADS"] = "1"  # torch reads it when it is first imported
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_S)
    os._exit(1)
