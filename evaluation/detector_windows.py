"""Training windows made once: 2 s each, drawn evenly over kinds and generators, changed at random, kept as 16 bit.

Making them costs more than a network's pass over them, and several detectors learn from the same ones.
SpeechBrain changes the speed and adds room responses of the corpus; :mod:`detectors.augmentation` does the rest.
"""

from __future__ import annotations

import csv
import importlib
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audiolm.audio import AudioClip
from detectors.augmentation import AugmentConfig, augment_batch
from detectors.kinds import BONA_FIDE_KINDS, KINDS, kind_of
from detectors.labelled import LabelledClip
from detectors.training import crop

__all__ = ["AS_FILES", "WINDOW_SAMPLES", "WindowSet", "make_windows", "room_responses"]

logger = logging.getLogger(__name__)
RATE_HZ, WINDOW_SAMPLES = 16_000, 32_000
SPEEDS_PERCENT = (88, 92, 96, 104, 108, 112)
SPEED_SHARE, ROOM_SHARE, OWN_CODEC_SHARE = 0.35, 0.12, 0.25
HARD = (
    *("hifigan", "codec_other_rate", "piper", "hibari", "kokoro", "own_continuation", "own_acoustic"),
    *("phase_rebuilt", "phase_blurred", "mel_inverted", "codec_bent", "neural_drawn"),
    *("hifigan_bent", "piper_bent", "hibari_bent", "kokoro_bent"),
    *("tokens_drawn", "harmonics_drawn", "rules_drawn"),
)
"""Drawn twice as often: what comes nearest to today's generators."""
AUGMENT = AugmentConfig(noise_share=0.45, snr_db=(10.0, 45.0), low_pass_share=0.25, reverb_share=0.1, channel_share=0.4)
AS_FILES = AugmentConfig(
    noise_share=0.15,
    snr_db=(15.0, 45.0),
    low_pass_share=0.1,
    reverb_share=0.05,
    channel_share=1.0,
    channels=("mp3", "mp3", "vorbis", "vorbis", "opus"),
)
"""Every window through a file codec, and little else: what most recordings have been through."""


FIELDS = ("samples", "kinds", "generators", "speakers")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSet:
    """``samples`` int16 ``[window, time]``; ``kinds``: index into ``KINDS``; ``generators``, ``speakers``: names."""

    samples: np.ndarray
    kinds: np.ndarray
    generators: np.ndarray
    speakers: np.ndarray

    @property
    def is_bona_fide(self) -> np.ndarray:
        return self.kinds < BONA_FIDE_KINDS

    def joined(self, other: WindowSet) -> WindowSet:
        """These windows, then the others."""
        return WindowSet(**{name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in FIELDS})

    def without(self, generators: Sequence[str]) -> WindowSet:
        """All windows but those of some generators."""
        kept = np.flatnonzero(~np.isin(self.generators, list(generators)))
        return WindowSet(**{name: getattr(self, name)[kept] for name in FIELDS})

    def save(self, path: Path) -> None:
        """As one file of arrays, no pickle."""
        np.savez(path, **{name: getattr(self, name) for name in FIELDS})

    @classmethod
    def load(cls, path: Path) -> WindowSet:
        """The inverse of :meth:`save`."""
        with np.load(path, allow_pickle=False) as archive:
            return cls(**{name: archive[name] for name in FIELDS})


def room_responses(corpus: Path) -> list[np.ndarray]:
    """Measured and simulated room responses of the corpus at 16 kHz, float32."""
    with (corpus / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        paths = [row["path"] for row in csv.DictReader(stream) if row["kind"] == "rir"]
    return [AudioClip.from_file(corpus / path).at_rate(RATE_HZ).samples for path in paths]


def _groups(clips: Sequence[LabelledClip]) -> dict[str, list[LabelledClip]]:
    """Clips by generator; genuine ones by ``recording/CORPUS`` and ``own_codec``."""
    groups: dict[str, list[LabelledClip]] = {}
    for clip in clips:
        kind = kind_of(clip.generator, clip.condition)
        name = f"recording/{clip.utterance_id.split('-')[1]}" if kind == "recording" else clip.generator
        groups.setdefault("own_codec" if kind == "own_codec" else name, []).append(clip)
    return groups


def _chance(clips: Sequence[LabelledClip]) -> np.ndarray:
    names, index, counts = np.unique([clip.speaker_id for clip in clips], return_inverse=True, return_counts=True)
    weights = counts[index] ** -0.5
    return weights / weights.sum()


class _Sampler:
    """Half genuine, of it a quarter through our own codec; recordings by the square root of a corpus's size."""

    def __init__(self, clips: Sequence[LabelledClip]) -> None:
        groups = _groups(clips)
        self.recorded = {name: members for name, members in groups.items() if name.startswith("recording/")}
        self.own_codec = groups.get("own_codec", [])
        genuine = (*self.recorded, "own_codec")
        self.synthetic = {name: members for name, members in groups.items() if name not in genuine}
        if not self.recorded or not self.synthetic:
            raise ValueError("training windows need genuine and synthetic clips; one class is missing")
        self.chance = {name: _chance(members) for name, members in groups.items()}
        sizes = np.asarray([len(members) for members in self.recorded.values()]) ** 0.5
        self.corpora = sizes / sizes.sum()
        often = np.asarray([2.0 if name in HARD else 1.0 for name in self.synthetic])
        self.generators = often / often.sum()

    def draw(self, genuine: bool, rng: np.random.Generator) -> LabelledClip:
        if genuine and self.own_codec and rng.random() < OWN_CODEC_SHARE:
            name, members = "own_codec", self.own_codec
        elif genuine:
            name = str(rng.choice(list(self.recorded), p=self.corpora))
            members = self.recorded[name]
        else:
            name = str(rng.choice(list(self.synthetic), p=self.generators))
            members = self.synthetic[name]
        return members[int(rng.choice(len(members), p=self.chance[name]))]


class _SpeechBrain:
    """Speed and room by SpeechBrain (Ravanelli et al. 2021)."""

    def __init__(self, rooms: Sequence[np.ndarray]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            domain: Any = importlib.import_module("speechbrain.augment.time_domain")
            processing: Any = importlib.import_module("speechbrain.processing.signal_processing")
        self.speeds = [domain.SpeedPerturb(RATE_HZ, speeds=[percent]) for percent in SPEEDS_PERCENT]
        self.reverberate, self.rooms = processing.reverberate, rooms

    def __call__(self, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        import torch

        signal = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))[None]
        if rng.random() < SPEED_SHARE:
            signal = self.speeds[int(rng.integers(len(self.speeds)))](signal)
        if self.rooms and rng.random() < ROOM_SHARE:
            room = torch.from_numpy(self.rooms[int(rng.integers(len(self.rooms)))].copy())[None]
            signal = self.reverberate(signal, room, rescale_amp="avg")
        return signal[0].numpy()


def make_windows(
    clips: Sequence[LabelledClip],
    count: int,
    seed: int,
    *,
    noises: Sequence[np.ndarray] = (),
    rooms: Sequence[np.ndarray] = (),
    changes: AugmentConfig = AUGMENT,
) -> WindowSet:
    """``count`` augmented windows of ``clips``; the class does not decide how a window is changed.

    Raises:
        ValueError: a class is missing.
    """
    import torch

    sampler, change = _Sampler(clips), _SpeechBrain(rooms)
    samples = np.zeros((count, WINDOW_SAMPLES), np.int16)
    kinds, generators, speakers = [], [], []
    with torch.inference_mode():
        for index in range(count):
            rng = np.random.default_rng([seed, index])
            clip = sampler.draw(index % 2 == 0, rng)
            window = crop(change(clip.samples, rng), WINDOW_SAMPLES, float(rng.random()))
            window = augment_batch(window[None].astype(np.float32), changes, noises, rng)[0]
            samples[index] = np.round(window * 32767.0).astype(np.int16)
            kinds.append(KINDS.index(kind_of(clip.generator, clip.condition)))
            generators.append(clip.generator if clip.generator != "bona_fide" else clip.condition)
            speakers.append(clip.speaker_id)
            if index % 1000 == 999:
                logger.info("%d of %d windows", index + 1, count)
    return WindowSet(
        samples=samples, kinds=np.asarray(kinds), generators=np.asarray(generators), speakers=np.asarray(speakers)
    )
