"""Labelled speech to train and test detectors on, and the file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["BONA_FIDE", "LabelledClip", "count_clips", "load_clips", "save_clips"]

BONA_FIDE = "bona_fide"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledClip:
    """One clip with everything that error rates are broken down by.

    ``samples``: float32 ``[time]`` at 16 kHz; ``generator``: ``bona_fide`` or what synthesised it; ``condition``: the
    channel it went through (``raw``: none); ``speaker_id``: of the voice (for splits and intervals);
    ``utterance_id``: of the recording or sentence behind it; ``split``: ``train``, ``held`` (early stopping and
    calibration) or ``test``.
    """

    samples: np.ndarray
    generator: str
    speaker_id: str
    utterance_id: str
    split: str
    condition: str = "raw"

    @property
    def is_bona_fide(self) -> bool:
        return self.generator == BONA_FIDE


def save_clips(path: Path, clips: Sequence[LabelledClip]) -> None:
    """Keep clips in one safetensors file, 16-bit; a clip's level survives up to full scale."""
    from safetensors.numpy import save_file

    samples = np.concatenate([np.zeros(0, np.float32), *[clip.samples for clip in clips]])
    rows = [
        [clip.samples.size, clip.generator, clip.speaker_id, clip.utterance_id, clip.split, clip.condition]
        for clip in clips
    ]
    pcm = np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"samples": pcm}, str(path), metadata={"clips": json.dumps(rows)})


def load_clips(path: Path) -> list[LabelledClip]:
    """What :func:`save_clips` kept."""
    from safetensors import safe_open

    with safe_open(str(path), framework="np") as stream:
        rows = json.loads(stream.metadata()["clips"])
        samples = stream.get_tensor("samples").astype(np.float32) / 32767.0
    clips, offset = [], 0
    for size, generator, speaker_id, utterance_id, split, condition in rows:
        clips.append(
            LabelledClip(
                samples=samples[offset : offset + size],
                generator=generator,
                speaker_id=speaker_id,
                utterance_id=utterance_id,
                split=split,
                condition=condition,
            )
        )
        offset += size
    return clips


def count_clips(clips: Iterable[LabelledClip]) -> dict[str, dict[str, int]]:
    """Clips and speakers per ``generator/condition/split``, for a model card."""
    groups: dict[str, list[LabelledClip]] = {}
    for clip in clips:
        groups.setdefault(f"{clip.generator}/{clip.condition}/{clip.split}", []).append(clip)
    return {
        name: {"clips": len(members), "speakers": len({clip.speaker_id for clip in members})}
        for name, members in sorted(groups.items())
    }
