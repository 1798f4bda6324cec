"""What workers send back, the same from another process and from another machine."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from evaluation.engines.interface import Work

__all__ = ["DONE", "MEMORY", "RAISED", "READY", "Answer", "answer", "opened", "raise_error"]

READY, DONE, RAISED, MEMORY = "ready", "done", "raised", "memory"

Answer = tuple[Any, ...]
"""``(READY,)``, ``(DONE, result)``, ``(RAISED, is it a ValueError, text)`` or ``(MEMORY,)``."""


def opened(work: Work[Any, Any]) -> tuple[Callable[[Any], Any] | None, Answer]:
    """The work's function, loaded, or None and the answer that says why not."""
    try:
        return work.open(), (READY,)
    except Exception as error:
        return None, _raised(error)


def answer(function: Callable[[Any], Any], shard: Any) -> Answer:
    """What the function makes of a shard; running out of memory counts as the worker's death, not as an error."""
    try:
        return (DONE, function(shard))
    except MemoryError:
        return (MEMORY,)
    except Exception as error:
        return _raised(error)


def raise_error(found: Answer) -> None:
    """Raise what a worker could not: a ValueError with its sentence, anything else with its traceback."""
    _, is_value_error, text = found
    if is_value_error:
        raise ValueError(text)
    raise ChildProcessError(f"a worker failed:\n{text}")


def _raised(error: Exception) -> Answer:
    if isinstance(error, ValueError):
        return (RAISED, True, str(error))
    return (RAISED, False, "".join(traceback.format_exception(error)))
