"""Plug-ins by folder: one module, one constant. No list to edit, no decorator, no global table."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, TypeVar

from evaluation.corpus_metrics import CorpusMetric
from evaluation.metrics import Metric
from evaluation.protocols import GeneratorEntry

T = TypeVar("T")

__all__ = ["discover", "discover_corpus_metrics", "discover_generators", "discover_metrics", "pick"]


def discover(package: ModuleType, constant: str) -> dict[str, object]:
    """``constant`` of every module in ``package`` by module name; ``_helpers`` and sub-packages are no plug-ins.

    Raises:
        ValueError: a module without the constant.
    """
    found: dict[str, object] = {}
    for info in pkgutil.iter_modules(package.__path__):
        if info.ispkg or info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package.__name__}.{info.name}")
        if not hasattr(module, constant):
            raise ValueError(f"{module.__file__}: has no {constant}; define it, or start a helper's name with _")
        found[info.name] = getattr(module, constant)
    return found


def discover_metrics() -> dict[str, Metric]:
    """Every scorer in ``evaluation/metrics`` by the name in its spec."""
    import evaluation.metrics

    metrics: Any = discover(evaluation.metrics, "METRIC").values()
    return _by_name((metric.spec.name, metric) for metric in metrics)


def discover_corpus_metrics() -> dict[str, CorpusMetric]:
    """Every measure of a whole run in ``evaluation/corpus_metrics`` by the name in its spec."""
    import evaluation.corpus_metrics

    metrics: Any = discover(evaluation.corpus_metrics, "CORPUS_METRIC").values()
    return _by_name((metric.spec.name, metric) for metric in metrics)


def discover_generators() -> dict[str, GeneratorEntry]:
    """Every system in ``evaluation/generators`` by its name."""
    import evaluation.generators

    entries: Any = discover(evaluation.generators, "GENERATOR").values()
    return _by_name((entry.name, entry) for entry in entries)


def _by_name(named: Iterable[tuple[str, T]]) -> dict[str, T]:
    table: dict[str, T] = {}
    for name, plugin in named:
        if name in table:
            raise ValueError(f"two plug-ins are called {name!r}; rename one of them")
        table[name] = plugin
    return table


def pick(table: Mapping[str, T], name: str, what: str) -> T:
    """``table[name]``, or a ValueError that names the nearest known name."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(table)) or 'none'}"
    raise ValueError(f"there is no {what} called {name!r}; {hint}")
