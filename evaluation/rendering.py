"""Asking a system for clips: one batch, then one by one where the batch fails, so that one bad item stays one."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audiolm.audio import AudioClip
from evaluation.protocols import Generator, RenderRequest

__all__ = ["Rendered", "item_seed", "render_batch"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Rendered:
    """A clip with the share of wall time it took in seconds, or the reason why there is none."""

    clip: AudioClip | None
    wall_s: float
    reason: str = ""


def item_seed(run_seed: int, utterance_id: str, role: str) -> int:
    """The seed of one item: independent of what else is in the run; below 2**53, so that JSON readers keep it."""
    text = f"{run_seed}\0{utterance_id}\0{role}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 11


def render_batch(generator: Generator, role: str, requests: Sequence[RenderRequest]) -> list[Rendered]:
    """One result per request, in order; an error of the system becomes the reason of the items it concerns."""
    if not requests:
        return []
    started = time.perf_counter()
    try:
        clips = _checked(generator.render(role, requests), len(requests))
    except Exception as error:  # a system under test may fail in any way; the run must outlive it
        logger.warning("%s: role %s failed for %d items: %s", generator.name, role, len(requests), error)
        if len(requests) == 1:
            return [Rendered(None, time.perf_counter() - started, f"{type(error).__name__}: {error}")]
        return [render_batch(generator, role, [request])[0] for request in requests]
    each_s = (time.perf_counter() - started) / len(requests)
    return [Rendered(clip, each_s) for clip in clips]


def _checked(clips: Sequence[AudioClip], expected: int) -> list[AudioClip]:
    if len(clips) != expected:
        raise ValueError(f"gave {len(clips)} clips for {expected} requests")
    for clip in clips:
        if len(clip.samples) == 0 or not np.all(np.isfinite(clip.samples)):
            raise ValueError("gave a clip that is empty or has NaN or infinite samples")
    return list(clips)
