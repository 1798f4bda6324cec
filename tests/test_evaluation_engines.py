"""Engines: results in order whoever works, a bounded number of shards ahead, and nothing lost when a worker is."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_works import Numbers, Squares, shards_of

from evaluation.engines import EngineOptions, open_engine
from evaluation.engines.dispatch import AHEAD

PROCESSES = EngineOptions(name="processes", workers=2)
SQUARES = [[number**2 for number in shard] for shard in shards_of(12)]


def mapped(work: Squares, shards: list[Numbers], options: EngineOptions = PROCESSES) -> list[list[object]]:
    with open_engine(options) as engine:
        return list(engine.map(work, shards))


def test_results_come_in_order_whoever_is_first(tmp_path: Path) -> None:
    work = Squares(log=str(tmp_path / "log"), pause_s=0.02)
    assert mapped(work, shards_of(12), EngineOptions(name="local")) == SQUARES
    assert mapped(work, shards_of(12)) == SQUARES
    lines = (tmp_path / "log").read_text().splitlines()
    assert len([line for line in lines if line.startswith("open")]) == 3  # each worker loads once
    assert len({line.split()[0] for line in lines if line[0].isdigit()}) == 3


def test_shards_are_taken_only_so_far_ahead() -> None:
    taken = 0

    def shards() -> Iterator[Numbers]:
        nonlocal taken
        for shard in shards_of(60):
            taken += 1
            yield shard

    with open_engine(PROCESSES) as engine:
        for given, result in enumerate(engine.map(Squares(), shards()), start=1):
            assert result == [number**2 for number in shards_of(60)[given - 1]]
            assert taken <= given + AHEAD * PROCESSES.workers
    assert taken == 60


def test_nothing_starts_before_there_is_a_shard() -> None:
    assert mapped(Squares(dies_at_start=True), []) == []


def test_a_poisoned_item_is_isolated_and_the_rest_is_whole(tmp_path: Path) -> None:
    found = mapped(Squares(poison=21, log=str(tmp_path / "log")), shards_of(12))
    wanted: list[list[object]] = [list(row) for row in SQUARES]
    wanted[5][1] = "was killed by SIGKILL"
    assert found == wanted
    tries = [line.split(maxsplit=1)[1] for line in (tmp_path / "log").read_text().splitlines()]
    assert tries.count("(20, 21, 22, 23)") == tries.count("(21,)") == 2


def test_an_item_that_hangs_is_stopped_and_marked() -> None:
    begun = time.monotonic()
    found = mapped(Squares(hangs=9, limit_s=0.3), shards_of(6))
    assert found[2] == [64, "took longer than 0.3 s and was stopped", 100, 121]
    assert [row for place, row in enumerate(found) if place != 2] == [
        row for place, row in enumerate(SQUARES[:6]) if place != 2
    ]
    assert time.monotonic() - begun < 30


def test_a_worker_that_is_killed_from_outside_costs_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with open_engine(PROCESSES) as engine:
        results = []
        for result in engine.map(Squares(log=str(log), pause_s=0.03), shards_of(12)):
            results.append(result)
            if len(results) in (2, 6):
                os.kill(int(log.read_text().splitlines()[-1].split()[0]), signal.SIGKILL)
    assert results == SQUARES


def test_a_worker_that_is_ready_after_the_end_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert mapped(Squares(first=str(tmp_path / "first")), shards_of(2)) == SQUARES[:2]
    assert capfd.readouterr().err == ""


def test_a_full_disk_in_a_worker_is_one_here() -> None:
    with pytest.raises(OSError, match="not this number") as caught:
        mapped(Squares(raises=6, error="full disk"), shards_of(3))
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize(("error", "raised"), [("ValueError", ValueError), ("KeyError", ChildProcessError)])
def test_an_error_in_a_worker_is_raised_here(error: str, raised: type[Exception]) -> None:
    with pytest.raises(raised, match="not this number"):
        mapped(Squares(raises=6, error=error), shards_of(3))
    assert not multiprocessing.active_children()


def test_workers_that_cannot_start_end_the_run() -> None:
    with pytest.raises(ChildProcessError, match=r"workers died one after another .*exit status 3.*--engine local"):
        mapped(Squares(dies_at_start=True), shards_of(3))


def test_items_that_all_kill_end_the_run() -> None:
    with pytest.raises(ChildProcessError, match="items one after another took their worker down"):
        mapped(Squares(poison=0), [(0, 0, 0, 0)] * 2, EngineOptions(name="processes", workers=1))


def test_an_abandoned_map_leaves_no_process() -> None:
    with open_engine(PROCESSES) as engine:
        results = engine.map(Squares(pause_s=0.01), shards_of(12))
        assert next(results) == SQUARES[0]
        assert multiprocessing.active_children()
        results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


def test_two_workers_take_little_more_than_half_the_time_of_one() -> None:
    """Shards that wait, not compute, so that a busy machine does not decide; the start of workers is left out."""
    taken = {}
    for workers in (1, 2):
        with open_engine(EngineOptions(name="processes", workers=workers)) as engine:
            results = engine.map(Squares(pause_s=0.05), shards_of(24))
            next(results)
            begun = time.perf_counter()
            assert len(list(results)) == 23
            taken[workers] = time.perf_counter() - begun
    assert taken[2] <= 0.75 * taken[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "threads"}, "use one of local, processes, ray"),
        ({"workers": 0}, "workers is 0"),
        ({"name": "processes", "address": "auto"}, "belong to --engine ray"),
        ({"name": "ray", "gpus_per_worker": -1.0}, "share of a GPU"),
        ({"name": "local", "item_limit_s": 3.0}, "needs a process that can be ended"),
        ({"name": "processes", "item_limit_s": float("inf")}, "item_limit_s is inf"),
    ],
)
def test_bad_options_are_refused(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EngineOptions(**options)
