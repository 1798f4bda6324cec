"""Clips of our own model to fit its evidence on: said again and continued, from genuine clips of the same speakers."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from detectors.labelled import LabelledClip, load_clips, save_clips
from detectors.preparation import FRAME_SAMPLES, active_frames, speech_span

if TYPE_CHECKING:
    from audiolm import AudioLM

__all__ = ["ROLES", "own_generations", "spread"]

logger = logging.getLogger(__name__)
PROMPT_S, CONTINUATION_S, LONGEST_S = 3.0, 4.0, 4.0
RATE_HZ = 16_000
BATCH = 8
ROLES = {"continuation": "own_continuation", "acoustic": "own_acoustic"}
TURNS = ({}, {"guidance": 1.0}, {})
"""How batches are sampled, in turn: as the model's own options say, but for what is given here."""


def spread(clips: Sequence[LabelledClip], count: int, seed: int, shortest_s: float = 0.0) -> list[LabelledClip]:
    """``count`` clips of as many speakers as there are, the same ones for a seed."""
    rng = np.random.default_rng(seed)
    usable = [clips[i] for i in rng.permutation(len(clips)) if len(clips[i].samples) >= shortest_s * RATE_HZ]
    turn: dict[str, int] = {}
    order = []
    for clip in usable:
        turn[clip.speaker_id] = turn.get(clip.speaker_id, -1) + 1
        order.append(turn[clip.speaker_id])
    return [usable[i] for i in np.argsort(order, kind="stable")[:count]]


def own_generations(
    model: AudioLM, recorded: Sequence[LabelledClip], counts: dict[tuple[str, str], int], work: Path, seed: int
) -> list[LabelledClip]:
    """Generated clips by ``(role, split)``; each batch is kept in ``work`` under the model's digest and read back."""
    digest = str(model.describe()["digest"])[:12]
    made = []
    for (role, split), count in counts.items():
        sources = spread([clip for clip in recorded if clip.split == split], count, seed, PROMPT_S)
        for at in range(0, len(sources), BATCH):
            batch = sources[at : at + BATCH]
            path = work / f"{digest}-{role}-{split}-{seed}-{at}-{len(batch)}.safetensors"
            if not path.exists():
                save_clips(path, _generated(model, role, batch, seed, TURNS[at // BATCH % len(TURNS)]))
                logger.info("%s %s: %d of %d made", split, role, at + len(batch), count)
            made += load_clips(path)
    return made


def _generated(
    model: AudioLM, role: str, sources: Sequence[LabelledClip], seed: int, turn: dict[str, float]
) -> list[LabelledClip]:
    options = replace(model.options, **turn)
    seeds = [_seed(seed, role, clip.utterance_id) for clip in sources]
    if role == "continuation":
        prompts = [clip.samples[: int(PROMPT_S * RATE_HZ)] for clip in sources]
        sounds = model.continuation(prompts, CONTINUATION_S, seeds, options)
    else:
        sounds = model.acoustic_generation([c.samples[: int(LONGEST_S * RATE_HZ)] for c in sources], seeds, options)
    return [
        replace(clip, samples=_spoken(samples), generator=ROLES[role], condition="raw")
        for clip, samples in zip(sources, sounds, strict=True)
    ]


def _spoken(samples: np.ndarray) -> np.ndarray:
    """From the first frame with speech to the last, as all clips are cut; everything where there is none."""
    first, past = speech_span(active_frames(samples))
    return samples[first:past] if past - first >= FRAME_SAMPLES else samples


def _seed(seed: int, role: str, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{role}/{name}".encode()).digest()[:6], "big")
