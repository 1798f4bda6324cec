"""The clips that evidence of our own model is fitted to and measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from detectors.channels import through_channel
from detectors.labelled import LabelledClip
from evaluation.detector_data import generated_clips, mode_clips

__all__ = ["CUT", "altered", "clip_rng", "cut_between", "own_clips", "shortened"]

RATE_HZ, FRAME_SAMPLES = 16_000, 320
LONGEST = 3 * RATE_HZ
CUT = "cut"


def own_clips(folders: Iterable[Path], recorded: Sequence[LabelledClip], seed: int) -> list[LabelledClip]:
    """What our model generated in run folders of ``evaluate`` and folders of ``generate --mode``, without its tags."""
    splits = {clip.utterance_id: clip.split for clip in recorded}
    found = []
    for folder in folders:
        is_run = (folder / "generations.parquet").is_file()
        found += generated_clips(folder, splits, seed) if is_run else mode_clips(folder, recorded, seed)
    return found


def shortened(clips: Sequence[LabelledClip]) -> list[LabelledClip]:
    """Their first 3 s, which keeps fitting quick."""
    return [replace(clip, samples=clip.samples[:LONGEST].copy()) for clip in clips]


def cut_between(
    clips: Sequence[LabelledClip], seed: int, *, every: int = 1, rename: bool = False
) -> list[LabelledClip]:
    """Every ``every``-th clip without its first few samples, so that the codec's frames begin somewhere else."""
    found = []
    for position, clip in enumerate(clips):
        if position % every == 0:
            gone = int(clip_rng(seed, CUT, clip).integers(1, FRAME_SAMPLES))
            clip = replace(clip, samples=clip.samples[gone:], condition=_named(clip, CUT) if rename else clip.condition)
        found.append(clip)
    return found


def altered(clips: Sequence[LabelledClip], seed: int) -> list[LabelledClip]:
    """Copies cut between frames, at half the level, and through MP3; the condition says what was done."""
    found = cut_between(clips, seed, rename=True)
    for clip in clips:
        found.append(replace(clip, samples=0.5 * clip.samples, condition=_named(clip, "half_level")))
        mp3 = through_channel(clip.samples, "mp3", clip_rng(seed, "mp3", clip))
        found.append(replace(clip, samples=mp3, condition=_named(clip, "mp3")))
    return found


def clip_rng(seed: int, what: str, clip: LabelledClip) -> np.random.Generator:
    """For one change of one clip, whatever else is in the set."""
    name = f"{what}/{clip.generator}/{clip.condition}/{clip.utterance_id}"
    return np.random.default_rng([seed, *hashlib.sha256(name.encode()).digest()[:8]])


def _named(clip: LabelledClip, change: str) -> str:
    return change if clip.condition == "raw" else f"{clip.condition}+{change}"
