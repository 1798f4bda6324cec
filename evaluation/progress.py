"""How long work says how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

__all__ = ["Advance", "Progress", "silent"]

Advance = Callable[[int], None]
Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Called with a title and a total; gives a context whose value is called with the steps done."""


@contextmanager
def silent(title: str, total: int) -> Iterator[Advance]:
    """Nobody listens."""
    yield lambda steps: None
