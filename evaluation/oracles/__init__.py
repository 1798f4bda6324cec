"""Oracles: questions with answers known beforehand, one file per scorer, found by their ``ORACLES`` constant.

Closed forms, identities and known mixtures, put to this installation; a library that changed its mind, a resampler that
a checkpoint overrode or a fallback in place of the real thing shows here before it shows in a report.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Oracle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """One question to ``scorer``: ``ask()`` must give ``expected`` within ``tolerance`` (an absolute difference)."""

    scorer: str
    name: str
    unit: str
    expected: float
    tolerance: float
    ask: Callable[[], float]
