"""Detectors of synthesized speech: arrays in, scores out; nothing of ours is imported here.

Polarity, once and for all: **higher = more likely bona fide**. A detector whose source uses the
opposite flips the sign in its own file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

__all__ = ["DEFAULT_DETECTOR", "Detector", "DetectorEntry", "Measured", "Verdict", "discover", "load_default"]

DEFAULT_DETECTOR = "fusion"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A number behind a ratio: its mean over the recording, and where the middle 80 % of clips of each class lie."""

    name: str
    value: float
    unit: str
    bona_fide: tuple[float, float]
    synthetic: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a detector says of one clip.

    ``llr``: natural-log likelihood ratio ln p(clip | bona fide) / p(clip | synthetic) in nats, or None
    where it abstains; ``reason``: why it abstains, else empty; ``timeline``: ``(start_s, end_s, llr)`` per window;
    ``frames``: the same for shorter and denser windows, where asked for; ``evidence``: ``(name, llr)`` of each part
    of a fusion; ``measured``: the numbers that a ratio is made of, where they mean something to a reader.
    """

    llr: float | None
    reason: str = ""
    timeline: tuple[tuple[float, float, float], ...] = field(default=())
    frames: tuple[tuple[float, float, float], ...] = field(default=())
    evidence: tuple[tuple[str, float], ...] = field(default=())
    measured: tuple[Measured, ...] = field(default=())


class Detector(Protocol):
    """A loaded detector. ``threshold_llr`` is its shipped operating point: below it the verdict is synthetic."""

    name: str
    sample_rate_hz: int
    threshold_llr: float

    def judge(self, samples: np.ndarray, sample_rate_hz: int) -> Verdict:
        """Judge one mono clip: float32 ``[time]`` at ``sample_rate_hz``. Deterministic."""
        ...

    def describe(self) -> Mapping[str, object]:
        """Weights digest, version, training data, operating point: for ``run.json`` and the report."""
        ...


class DetectorEntry(Protocol):
    """What a file in this folder calls ``DETECTOR``."""

    name: str

    def load(self, path: str | None = None, device: str = "cpu") -> Detector: ...


def discover() -> dict[str, DetectorEntry]:
    """Every detector by name: the modules of this folder that hold a ``DETECTOR``; others are helpers.

    Heavy libraries are imported by ``load``, not here.

    Raises:
        ValueError: two files give the same name.
    """
    entries: dict[str, DetectorEntry] = {}
    for module_info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        if module_info.ispkg or module_info.name.startswith("_"):
            continue
        entry = getattr(importlib.import_module(f"{__name__}.{module_info.name}"), "DETECTOR", None)
        if entry is None:
            continue
        if entry.name in entries:
            raise ValueError(f"detectors/{module_info.name}.py: the name {entry.name!r} is taken; choose another")
        entries[entry.name] = entry
    return entries


def load_default(device: str = "cpu") -> Detector:
    """The shipped detector with its shipped weights."""
    return discover()[DEFAULT_DETECTOR].load(None, device)
