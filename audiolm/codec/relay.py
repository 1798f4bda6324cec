"""Consecutive pieces of one recording through an incremental network, on several threads at once.

A part of the network needs of the piece before only that part's past, a few inputs. So thread 0 may compute the first
piece, thread 1 the second one, a layer behind, and so on around a ring; each past is handed on as soon as it is known::

    thread 0   piece 0: layer 1, 2, 3, ...   piece 2: layer 1, ...
    thread 1     piece 1: layer 1, 2, ...      piece 3: ...

Each thread keeps its piece in its own core's cache, and nothing is split within an operation, so that two cores take
half the time of one; sharing out every operation takes two thirds. The pieces are the same on any number of threads,
and so is the result, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor, nn

from audiolm.codec.incremental import LOST, Incremental, another
from audiolm.row_groups import threads_each

__all__ = ["in_relay"]


def in_relay(twin: nn.Module, pieces: Sequence[Tensor]) -> list[Tensor]:
    """What ``twin`` (never used itself) gives for each of ``pieces``, in order, as if called with one after another."""
    threads = torch.get_num_threads()
    runners = min(threads, len(pieces))
    if runners < 2:
        network, _ = another(twin)
        return [network(piece) for piece in pieces]
    networks = [another(twin) for _ in range(runners)]
    _join([parts for _, parts in networks])
    found: list[Any] = [None] * len(pieces)

    @torch.inference_mode()
    def run(number: int) -> None:
        network, parts = networks[number]
        try:
            for index in range(number, len(pieces), runners):
                found[index] = network(pieces[index])
        except BaseException:
            for part in parts:
                if part.outbox is not None:
                    part.outbox.put(LOST)
            raise

    with threads_each(threads // runners), ThreadPoolExecutor(runners) as pool:
        for done in [pool.submit(run, number) for number in range(runners)]:
            done.result()
    return found


def _join(rings: list[list[Incremental]]) -> None:
    """Each part's past goes from one network's to the next one's, around; the first piece has none."""
    for parts in zip(*rings, strict=True):
        boxes: list[SimpleQueue[Any]] = [SimpleQueue() for _ in parts]
        boxes[0].put(None)
        for number, part in enumerate(parts):
            part.inbox, part.outbox = boxes[number], boxes[(number + 1) % len(boxes)]
