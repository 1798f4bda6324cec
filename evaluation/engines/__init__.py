"""Where the shards of a run are worked on: in this process, in several, or on the nodes of a Ray cluster.

One interface (:class:`Engine`): a function over shards, results in the order of the shards, a bounded number in flight.
"""

from __future__ import annotations

from evaluation.engines.interface import Engine, Work
from evaluation.engines.options import ENGINES, EngineOptions, cpu_count, engine_of, open_engine

__all__ = ["ENGINES", "Engine", "EngineOptions", "Work", "cpu_count", "engine_of", "open_engine"]
