"""Training audio from a manifest, a pack or a folder, and random crops that depend on nothing but seed and step."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiolm.packed_speech import PackedSamples, packs_in, read_pack

__all__ = ["Chances", "Recording", "check_disjoint", "draw_crops", "read_recordings", "rows_of", "split_of_speaker"]

NEEDED = ("utterance_id", "path", "split", "speaker")
HELD_OUT_SHARE = 0.05
"""Share of the speakers of a bare folder that is held out."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One training recording: ``samples`` ``[time]``, an array in memory or whatever has a length and gives float32
    for a slice (packed on disk, played at another speed), at the model's rate, its speaker (may be empty) and id."""

    utterance_id: str
    speaker_id: str
    samples: Any


class Chances:
    """Draws places of ``lengths`` in proportion to them: the numbers ``Generator.choice`` gives, from sums made once,
    so that a step's cost does not grow with the recordings.

    Raises:
        ValueError: all lengths are 0.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray) -> None:
        given = np.asarray(lengths, dtype=np.float64)
        if not given.sum():
            raise ValueError(f"{len(given)} recordings hold no samples; give at least one with sound")
        sums = (given / given.sum()).cumsum()
        self._sums = sums / sums[-1]

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """``count`` places, with repetition."""
        return self._sums.searchsorted(rng.random(count), side="right")


def read_recordings(
    source: str | Path,
    *,
    split: str,
    sample_rate_hz: int,
    kind: str = "speech",
    max_seconds_per_speaker: float | None = None,
) -> list[Recording]:
    """Recordings of one ``split`` of a CSV manifest, of a pack, of a folder of packs, or of a folder of audio.

    A manifest has columns utterance_id, path, split, speaker and perhaps kind. A folder's speakers are its
    sub-folders, shared out by :func:`split_of_speaker`. ``max_seconds_per_speaker`` caps speakers that would outweigh
    the others; rows without a speaker are not capped.

    Raises:
        ValueError: source or column missing, or no row of that split.
    """
    recordings = []
    taken_s: dict[str, float] = {}
    for row, samples in rows_of(Path(source), sample_rate_hz, split=split, kind=kind):
        speaker = row["speaker"]
        if max_seconds_per_speaker and speaker and taken_s.get(speaker, 0.0) >= max_seconds_per_speaker:
            continue
        loaded = samples if isinstance(samples, PackedSamples) else samples(sample_rate_hz)
        taken_s[speaker] = taken_s.get(speaker, 0.0) + len(loaded) / sample_rate_hz
        recordings.append(Recording(row["utterance_id"], speaker, loaded))
    if not recordings:
        raise ValueError(f"{source}: no {kind} row has split {split!r}; check --split")
    return recordings


def rows_of(source: Path, sample_rate_hz: int, *, split: str, kind: str) -> Iterator[tuple[Mapping[str, str], Any]]:
    """Rows of one split and kind, each with its packed samples or with a function from rate to samples."""
    if packs := packs_in(source):
        found: Any = chain.from_iterable(read_pack(pack, sample_rate_hz) for pack in packs)
    elif source.is_dir():
        found = _folder_rows(source)
    else:
        found = _manifest_rows(source)
    for row, samples in found:
        if row["split"] == split and row.get("kind", kind) == kind:
            yield row, samples


def check_disjoint(first: Sequence[Recording], second: Sequence[Recording]) -> None:
    """Refuse a speaker in both splits.

    Raises:
        ValueError: names one such speaker.
    """
    shared = {item.speaker_id for item in first} & {item.speaker_id for item in second} - {""}
    if shared:
        raise ValueError(
            f"speaker {min(shared)!r} is in the training split and held out ({len(shared)} such); held-out losses would"
            " not tell of new voices: give every speaker one split"
        )


def split_of_speaker(speaker: str) -> str:
    """``train`` or, for one speaker in twenty, ``dev``: by the speaker's name alone, so that it never changes."""
    place = int.from_bytes(hashlib.sha256(speaker.encode()).digest()[:4], "big") / 2**32
    return "dev" if place < HELD_OUT_SHARE else "train"


def draw_crops(
    recordings: list[Recording],
    *,
    batch: int,
    length: int,
    rng: np.random.Generator,
    chances: Chances | None = None,
) -> Tensor:
    """Random crops ``[batch, length]``, drawn in proportion to recording length; short recordings end in silence.

    ``chances``: of the recordings, made once by whoever draws often.

    Raises:
        ValueError: no recording has a sample.
    """
    chances = chances or Chances([len(item.samples) for item in recordings])
    crops = np.zeros((batch, length), dtype=np.float32)
    for row, index in enumerate(chances.draw(batch, rng)):
        samples = recordings[index].samples
        start = int(rng.integers(0, max(1, len(samples) - length + 1)))
        piece = samples[start : start + length]
        crops[row, : len(piece)] = piece
    return torch.from_numpy(crops)


def _manifest_rows(manifest: Path) -> Iterator[tuple[Mapping[str, str], Any]]:
    if not manifest.is_file():
        raise ValueError(f"{manifest}: no such manifest; name a CSV with columns utterance_id, path, split, speaker")
    with manifest.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or set(NEEDED) - rows[0].keys():
        missing = ", ".join(sorted(set(NEEDED) - (rows[0].keys() if rows else set()))) or "rows"
        raise ValueError(f"{manifest}: lacks {missing}; a training manifest needs {', '.join(sorted(NEEDED))}")
    for row in rows:
        yield row, _Reader(manifest.parent / row["path"])


def _folder_rows(folder: Path) -> Iterator[tuple[Mapping[str, str], Any]]:
    from audiolm.audio import AUDIO_SUFFIXES

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES)
    if not paths:
        raise ValueError(
            f"{folder}: holds no audio; name a folder of WAV, FLAC, OGG or MP3, one sub-folder per speaker"
        )
    speakers = {path: path.relative_to(folder).parts[0] if path.parent != folder else "" for path in paths}
    splits = {speaker: split_of_speaker(speaker) for speaker in set(speakers.values())}
    if len(splits) > 1 and set(splits.values()) == {"train"}:
        splits[max(splits)] = "dev"
    for path in paths:
        name = path.relative_to(folder).with_suffix("").as_posix().replace("/", "-")
        yield {"utterance_id": name, "speaker": speakers[path], "split": splits[speakers[path]]}, _Reader(path)


class _Reader:
    """Reads one file when asked: soundfile is needed only here, not for packs."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, sample_rate_hz: int) -> np.ndarray:
        from audiolm.audio import AudioClip

        return AudioClip.from_file(self.path).at_rate(sample_rate_hz).samples
