"""Training audio: the rows of a manifest in memory, and random crops that depend on nothing but seed and step."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiolm.audio import AudioClip

__all__ = ["Recording", "draw_crops", "read_recordings"]


@dataclass(frozen=True, slots=True)
class Recording:
    """One training recording: float32 ``samples`` ``[time]`` at the model's rate, its speaker (may be empty) and id."""

    utterance_id: str
    speaker_id: str
    samples: np.ndarray


def read_recordings(
    manifest: str | Path,
    *,
    split: str,
    sample_rate_hz: int,
    kind: str = "speech",
    max_seconds_per_speaker: float | None = None,
) -> list[Recording]:
    """Recordings of one ``split`` of a CSV manifest (columns utterance_id, path, kind, split, speaker).

    ``max_seconds_per_speaker`` caps speakers that would outweigh the others; rows without a speaker are not capped.

    Raises:
        ValueError: manifest or column missing, or no row of that split.
    """
    manifest = Path(manifest)
    if not manifest.is_file():
        raise ValueError(f"{manifest}: no such manifest; name a CSV with columns utterance_id, path, split, speaker")
    with manifest.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    needed = {"utterance_id", "path", "split", "speaker"}
    if not rows or needed - rows[0].keys():
        missing = ", ".join(sorted(needed - (rows[0].keys() if rows else set()))) or "rows"
        raise ValueError(f"{manifest}: lacks {missing}; a training manifest needs {', '.join(sorted(needed))}")
    recordings = []
    taken_s: dict[str, float] = {}
    for row in rows:
        if row["split"] != split or row.get("kind", kind) != kind:
            continue
        speaker = row["speaker"]
        if max_seconds_per_speaker and speaker and taken_s.get(speaker, 0.0) >= max_seconds_per_speaker:
            continue
        clip = AudioClip.from_file(manifest.parent / row["path"]).at_rate(sample_rate_hz)
        taken_s[speaker] = taken_s.get(speaker, 0.0) + clip.duration_s
        recordings.append(Recording(row["utterance_id"], speaker, clip.samples))
    if not recordings:
        raise ValueError(f"{manifest}: no {kind} row has split {split!r}; check --split")
    return recordings


def draw_crops(recordings: list[Recording], *, batch: int, length: int, rng: np.random.Generator) -> Tensor:
    """Random crops ``[batch, length]``, drawn in proportion to recording length; short recordings end in silence."""
    lengths = np.array([len(item.samples) for item in recordings], dtype=np.float64)
    chosen = rng.choice(len(recordings), size=batch, p=lengths / lengths.sum())
    crops = np.zeros((batch, length), dtype=np.float32)
    for row, index in enumerate(chosen):
        samples = recordings[index].samples
        start = int(rng.integers(0, max(1, len(samples) - length + 1)))
        piece = samples[start : start + length]
        crops[row, : len(piece)] = piece
    return torch.from_numpy(crops)
