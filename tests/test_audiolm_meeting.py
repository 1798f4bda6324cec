"""Processes that start anew meet, whatever an earlier start left in the store that torchrun keeps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import HashStore  # pyright: ignore[reportPrivateImportUsage]

from audiolm.meeting import agreed_word

WORLD = 3
SOON = timedelta(seconds=20)


def met(store: HashStore) -> set[str]:
    with ThreadPoolExecutor(WORLD) as pool:
        return set(pool.map(lambda rank: agreed_word(store, rank, WORLD, SOON), range(WORLD)))


def test_every_start_has_one_word_of_its_own() -> None:
    store = HashStore()
    store.set("audiolm/asks/1", "a-dead-process")
    store.set("audiolm/answers/a-dead-process", "a-dead-start")
    words = [met(store) for _ in range(3)]
    assert all(len(found) == 1 for found in words)
    assert len(set.union(*words)) == 3 and {"a-dead-start"} not in words


def test_a_process_that_does_not_come_is_named() -> None:
    with pytest.raises(TimeoutError, match="process 1 did not come"):
        agreed_word(HashStore(), 0, WORLD, timedelta(seconds=0.1))
