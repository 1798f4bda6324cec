"""Pairs of clips that differ in one thing: in one it stays the same throughout, in the other it changes half way.

The construction of SALMon (Maimon et al. 2024) on a user's own recordings: two seconds of one recording, then two
seconds more. Both clips of a pair are spliced at the same place from different recordings, faded alike and brought to
one level, so that the splice itself tells nothing; ``control`` pairs, spliced twice from the same speaker, must come
out at 50 %. What nobody recorded (noises, rooms) is drawn from the pair's own seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve, lfilter

__all__ = ["CHANGE_S", "KINDS", "RATE_HZ", "Pair", "Voice", "make_pair"]

RATE_HZ = 16_000
CHANGE_S = 2.0
"""Where the change is; the same length follows."""
FADE_S = 0.02
KINDS = ("speaker", "gender", "background", "room", "sentiment", "control")
NOISES = ("white", "brown", "hum", "babble")
SNR_DB = 10.0
ROOMS_S = ((0.15, 0.3), (0.7, 1.2))
"""Reverberation times of the two rooms of a pair: one from each range, in either order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """One recording that may serve: its name, speaker, groups, and a function that reads its samples at 16 kHz."""

    name: str
    speaker: str
    groups: Mapping[str, str]
    read: Callable[[], np.ndarray]
    duration_s: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Samples ``[time]`` at 16 kHz of equal length: nothing changes in ``consistent``, one thing in ``changed``."""

    consistent: np.ndarray
    changed: np.ndarray


def make_pair(kind: str, first: Voice, others: Sequence[Voice], seed: int) -> Pair | str:
    """The pair of ``kind`` that starts with ``first``, or the reason why there is none.

    ``others`` are all recordings of the run; which one is taken follows from the seed and the names alone.
    """
    if first.duration_s < 2 * CHANGE_S:
        return f"the recording is shorter than {2 * CHANGE_S:g} s"
    generator = np.random.default_rng(_entropy(seed, kind, first.name))
    if kind == "background":
        return _background(first, others, generator)
    if kind == "room":
        return _room(first, generator)
    choices = _choices(kind, first, others)
    if isinstance(choices, str):
        return choices
    same, other = (pool[int(generator.integers(len(pool)))] for pool in choices)
    if kind == "control":
        same, other = (choices[0][int(place)] for place in generator.choice(len(choices[0]), 2, replace=False))
    start = first.read()[: _samples(CHANGE_S)]
    return Pair(_spliced(start, same.read()), _spliced(start, other.read()))


def _choices(kind: str, first: Voice, others: Sequence[Voice]) -> tuple[list[Voice], list[Voice]] | str:
    """Recordings that continue alike, and those that change the one thing."""
    usable = [
        v for v in others if v.name != first.name and v.duration_s >= CHANGE_S + FADE_S and v.speaker and first.speaker
    ]
    same = [voice for voice in usable if voice.speaker == first.speaker]
    rest = [voice for voice in usable if voice.speaker != first.speaker]
    if kind == "control":
        return (same, same) if len(same) > 1 else "needs two more recordings of this speaker"
    if not same:
        return "needs another recording of this speaker"
    gender = first.groups.get("gender", "")
    if kind == "speaker":
        alike = [voice for voice in rest if voice.groups.get("gender", "") == gender]
        return (same, alike) if alike else "needs a recording of another speaker of this gender"
    if kind == "gender":
        unlike = [voice for voice in rest if gender and voice.groups.get("gender", "") not in ("", gender)]
        return (same, unlike) if unlike else "needs gender labels and a recording of another gender"
    label = next((name for name in ("sentiment", "emotion", "style") if first.groups.get(name)), "")
    if not label:
        return "needs labels of sentiment, emotion or style in the manifest"
    alike = [voice for voice in same if voice.groups.get(label) == first.groups[label]]
    unlike = [voice for voice in same if voice.groups.get(label, "") not in ("", first.groups[label])]
    return (alike, unlike) if alike and unlike else f"needs this speaker with the same and another {label}"


def _spliced(start: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """``start``, then the first two seconds of sound of ``rest`` at its level, cross-faded over 20 ms."""
    rest = _from_sound(rest)
    rest = rest * (_rms(start) / max(_rms(rest), 1e-6))
    fade = _samples(FADE_S)
    ramp = np.linspace(0.0, 1.0, fade)
    joint = start[-fade:] * (1 - ramp) + rest[:fade] * ramp
    return np.concatenate([start[:-fade], joint, rest[fade:]]).astype(np.float32)


def _from_sound(samples: np.ndarray) -> np.ndarray:
    """Two seconds, and the fade before them, from where the recording first has sound."""
    size = _samples(CHANGE_S + FADE_S)
    loud = np.flatnonzero(np.abs(samples) > 0.05 * np.abs(samples).max())
    start = int(min(loud[0], len(samples) - size)) if len(loud) else 0
    return samples[start : start + size]


def _background(first: Voice, others: Sequence[Voice], generator: np.random.Generator) -> Pair:
    speech = first.read()[: 2 * _samples(CHANGE_S)]
    one, two = (NOISES[int(place)] for place in generator.choice(len(NOISES), 2, replace=False))
    noise_one, noise_two = (_noise(kind, len(speech), others, generator) for kind in (one, two))
    gain = _rms(speech) * 10 ** (-SNR_DB / 20)
    return Pair(_limited(speech + gain * noise_one), _limited(speech + gain * _changed(noise_one, noise_two)))


def _room(first: Voice, generator: np.random.Generator) -> Pair:
    speech = first.read()[: 2 * _samples(CHANGE_S)]
    order = generator.permutation(len(ROOMS_S))
    rooms = [_in_room(speech, generator.uniform(*ROOMS_S[int(place)]), generator) for place in order]
    return Pair(_limited(rooms[0]), _limited(_changed(rooms[0], rooms[1])))


def _changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """``before`` up to the change and ``after`` from there, cross-faded over 20 ms."""
    weights = np.clip((np.arange(len(before)) - _samples(CHANGE_S)) / _samples(FADE_S) + 0.5, 0.0, 1.0)
    return before * (1 - weights) + after * weights


def _noise(kind: str, count: int, others: Sequence[Voice], generator: np.random.Generator) -> np.ndarray:
    """Noise of unit level: white, brown, mains hum, or babble of up to four recordings played backwards."""
    white = generator.standard_normal(count)
    if kind == "brown":
        white = lfilter([1.0], [1.0, -0.98], white)
    elif kind == "hum":
        time = np.arange(count) / RATE_HZ
        white = sum(np.sin(2 * np.pi * 50 * k * time + k) / k for k in range(1, 12)) + 0.05 * white
    elif kind == "babble":
        places = generator.choice(len(others), min(4, len(others)), replace=False)
        white = np.sum([np.resize(others[int(place)].read()[::-1], count) for place in places], axis=0)
    return np.asarray(white) / max(_rms(np.asarray(white)), 1e-9)


def _in_room(speech: np.ndarray, decay_s: float, generator: np.random.Generator) -> np.ndarray:
    """Speech in a room whose echoes fall by 60 dB in ``decay_s``, at the level it had."""
    time = np.arange(int(decay_s * RATE_HZ)) / RATE_HZ
    echoes = generator.standard_normal(len(time)) * 10 ** (-3.0 * time / decay_s)
    echoes *= 1.0 / np.sqrt(np.square(echoes).sum())
    echoes[0] += 1.0
    wet = fftconvolve(speech, echoes)[: len(speech)]
    return wet * (_rms(speech) / max(_rms(wet), 1e-9))


def _limited(samples: np.ndarray) -> np.ndarray:
    return (samples / max(1.0, float(np.abs(samples).max()))).astype(np.float32)


def _rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def _samples(seconds: float) -> int:
    return int(round(seconds * RATE_HZ))


def _entropy(seed: int, *names: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join((str(seed), *names)).encode()).digest()[:16], "big")
