"""What workers send back, the same from another process and from another machine."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from evaluation.engines.interface import Work

__all__ = ["DONE", "MEMORY", "OTHER", "RAISED", "READY", "Answer", "answer", "opened", "raise_error"]

READY, DONE, RAISED, MEMORY = "ready", "done", "raised", "memory"

Answer = tuple[Any, ...]
"""``(READY,)``, ``(DONE, result)``, ``(RAISED, kind, what)`` or ``(MEMORY,)``."""
VALUE, SYSTEM, OTHER = "value", "system", "other"
"""Kinds of errors: a ValueError (its sentence), one of the system (number, text, file), any other (its traceback)."""


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
    """Raise what a worker could not: a ValueError or the system's error as it was, any other with its traceback."""
    _, kind, what = found
    if kind == VALUE:
        raise ValueError(what)
    if kind == SYSTEM:
        raise OSError(*what)  # a full disk in a worker is told as one here
    raise ChildProcessError(f"a worker failed:\n{what}")


def _raised(error: Exception) -> Answer:
    if isinstance(error, ValueError):
        return (RAISED, VALUE, str(error))
    if isinstance(error, OSError) and error.errno is not None:
        return (RAISED, SYSTEM, (error.errno, error.strerror, error.filename))
    return (RAISED, OTHER, "".join(traceback.format_exception(error)))
