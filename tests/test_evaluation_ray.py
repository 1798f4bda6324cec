"""The engine ``ray`` on a cluster of several nodes on this machine: the same results, also when a node goes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_works import Squares, shards_of

from evaluation.engines import EngineOptions, open_engine
from evaluation.engines.ray_cluster import SETTINGS

ray: Any = pytest.importorskip("ray")
TESTS = str(Path(__file__).parent)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room for workers, and two nodes with room for one each."""
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    os.environ.update(SETTINGS)
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([TESTS, str(Path(TESTS).parent), before])
    small: dict[str, Any] = {"object_store_memory": 80 * 1024**2}
    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **small})
    try:
        found.add_node(num_cpus=1, **small)
        found.add_node(num_cpus=1, **small)
        ray.init(address=found.address, log_to_driver=False, logging_level="ERROR")
        yield found
    finally:
        ray.shutdown()
        found.shutdown()
        os.environ["PYTHONPATH"] = before


def test_a_poisoned_item_is_isolated(cluster: Any) -> None:
    with open_engine(EngineOptions(name="ray")) as engine:
        found = list(engine.map(Squares(poison=6), shards_of(4)))
    assert "was lost" in str(found[1][2])
    found[1][2] = 36
    assert found == [[number**2 for number in shard] for shard in shards_of(4)]


def test_a_node_that_goes_in_mid_run_costs_nothing(cluster: Any, tmp_path: Path) -> None:
    """Each shard is slow enough that the node has one in hand when it is killed."""
    extra = cluster.add_node(num_cpus=1, object_store_memory=80 * 1024**2)
    log = tmp_path / "log"
    results = []
    with open_engine(EngineOptions(name="ray", workers=3)) as engine:
        for result in engine.map(Squares(log=str(log), pause_s=0.1), shards_of(16)):
            results.append(result)
            if len(results) == 6:
                cluster.remove_node(extra, allow_graceful=False)
    assert results == [[number**2 for number in shard] for shard in shards_of(16)]
    assert len([line for line in log.read_text().splitlines() if line.startswith("open")]) >= 3
