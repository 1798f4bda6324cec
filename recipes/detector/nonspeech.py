"""Sounds that are no speech, made up: instruments, drums, machines, weather, beeps, birds. For the speech check only.

Each maker takes seconds and a generator and gives float64 ``[time]`` at 16 kHz, any level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from scipy.signal import butter, fftconvolve, sosfilt

RATE_HZ = 16_000
Maker = Callable[[float, np.random.Generator], np.ndarray]
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (0, 3, 5, 7, 10), tuple(range(12)))


def _band(samples: np.ndarray, low_hz: float, high_hz: float, order: int = 2) -> np.ndarray:
    edges = (max(low_hz, 20.0), min(high_hz, 7_800.0))
    return np.asarray(sosfilt(butter(order, edges, "bandpass", fs=RATE_HZ, output="sos"), samples))


def _coloured(size: int, rng: np.random.Generator) -> np.ndarray:
    shape = np.maximum(np.fft.rfftfreq(size), 1e-3) ** (-rng.uniform(0.0, 1.2))
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * shape, size)
    return noise / noise.std()


def _slow(size: int, rate_hz: float, rng: np.random.Generator) -> np.ndarray:
    """A random curve around 0 with unit spread that moves at most ``rate_hz`` times a second."""
    points = max(4, int(size / RATE_HZ * rate_hz * 2) + 2)
    return np.interp(np.linspace(0, points - 1, size), np.arange(points), rng.standard_normal(points))


class _Instrument:
    """A timbre: harmonics, their decay, attack, sustain, vibrato; as random as instruments are."""

    def __init__(self, rng: np.random.Generator) -> None:
        count = int(rng.integers(1, 16))
        self.levels = rng.uniform(0.2, 1.0, count) * np.arange(1, count + 1) ** -rng.uniform(0.2, 2.5)
        if rng.random() < 0.2:
            self.levels[1::2] = 0.0
        self.stretch = rng.uniform(0.0, 0.001) if rng.random() < 0.5 else 0.0
        self.attack_s = float(10.0 ** rng.uniform(-3.0, -0.7))
        self.decay_s = float(10.0 ** rng.uniform(-1.0, 0.7)) if rng.random() < 0.6 else 100.0
        self.vibrato = (rng.uniform(4.0, 7.0), rng.uniform(0.0, 0.012) if rng.random() < 0.4 else 0.0)
        self.breath = rng.uniform(0.0, 0.1) if rng.random() < 0.3 else 0.0
        self.release_s = rng.uniform(0.02, 0.3)

    def note(self, hz: float, length_s: float, rng: np.random.Generator) -> np.ndarray:
        size = int((length_s + self.release_s) * RATE_HZ)
        time_s = np.arange(size) / RATE_HZ
        phase = 2 * np.pi * hz * (time_s - self.vibrato[1] / (2 * np.pi) * np.cos(2 * np.pi * self.vibrato[0] * time_s))
        made = np.zeros(size)
        for number, level in enumerate(self.levels, 1):
            ratio = number * np.sqrt(1.0 + self.stretch * number**2)
            if level > 0.0 and hz * ratio < 7_600.0:
                decay = np.exp(-time_s * (1.0 + 0.3 * number) / self.decay_s)
                made += level * decay * np.sin(phase * ratio + rng.uniform(0, 2 * np.pi))
        made += self.breath * rng.standard_normal(size)
        rise = np.minimum(1.0, time_s / self.attack_s)
        fall = np.clip((length_s + self.release_s - time_s) / self.release_s, 0.0, 1.0)
        return made * rise * fall


def _add(track: np.ndarray, sound: np.ndarray, at: int, gain: float) -> None:
    end = min(track.size, at + sound.size)
    if end > at:
        track[at:end] += gain * sound[: end - at]


def melody(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """One instrument, one to five notes at a time, in a scale and a rhythm."""
    track = np.zeros(int(seconds * RATE_HZ))
    instrument, beat_s = _Instrument(rng), 60.0 / rng.uniform(50.0, 190.0)
    scale, root = SCALES[int(rng.integers(len(SCALES)))], rng.uniform(26.0, 72.0)
    voices, jitter = int(rng.integers(1, 6)), rng.uniform(0.0, 0.03)
    at, degree = 0.0, int(rng.integers(0, 7))
    while at < seconds:
        length_s = beat_s * float(rng.choice([0.25, 0.5, 0.5, 1.0, 1.0, 2.0, 4.0]))
        degree = int(np.clip(degree + rng.integers(-3, 4), 0, 2 * len(scale) - 1))
        for voice in range(voices if rng.random() < 0.5 else 1):
            step = degree + 2 * voice
            pitch = root + 12 * (step // len(scale)) + scale[step % len(scale)]
            start = int(max(0.0, at + rng.normal(0, jitter)) * RATE_HZ)
            hz = 440.0 * 2 ** ((pitch - 69) / 12)
            _add(track, instrument.note(hz, length_s * rng.uniform(0.5, 1.1), rng), start, rng.uniform(0.4, 1.0))
        at += length_s if rng.random() < 0.9 else 2 * length_s
    return track


def drums(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Kick, snare, hat and toms in a repeated pattern of sixteen steps."""
    track, step_s = np.zeros(int(seconds * RATE_HZ)), 15.0 / rng.uniform(70.0, 180.0)
    time_s = np.arange(int(0.5 * RATE_HZ)) / RATE_HZ
    kick = np.sin(2 * np.pi * (rng.uniform(40, 60) * time_s + 8 * (1 - np.exp(-time_s * 30)))) * np.exp(-time_s * 12)
    noise = rng.standard_normal(time_s.size)
    snare = _band(noise, 180.0, 6_000.0) * np.exp(-time_s * rng.uniform(10, 30))
    hat = _band(noise, 5_000.0, 7_800.0) * np.exp(-time_s * rng.uniform(20, 90))
    tom = np.sin(2 * np.pi * rng.uniform(80, 250) * time_s) * np.exp(-time_s * rng.uniform(6, 20))
    for sound, chance in ((kick, 0.3), (snare, 0.2), (hat, 0.5), (tom, 0.1)):
        pattern, gain = rng.random(16) < chance, rng.uniform(0.2, 1.0)
        for place in range(int(seconds / step_s)):
            if pattern[place % 16] or rng.random() < 0.03:
                _add(track, sound, int(place * step_s * RATE_HZ), gain * rng.uniform(0.7, 1.0))
    return track


def band(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Several instruments, with or without drums, in a room."""
    parts = [melody(seconds, rng) for _ in range(int(rng.integers(2, 5)))]
    parts += [drums(seconds, rng)] if rng.random() < 0.6 else []
    mixed = np.sum([part / (part.std() + 1e-9) * rng.uniform(0.3, 1.0) for part in parts], axis=0)
    if rng.random() < 0.5:
        size = int(rng.uniform(0.1, 1.0) * RATE_HZ)
        tail = rng.standard_normal(size) * np.exp(-6.9 * np.arange(size) / size)
        mixed = mixed + rng.uniform(0.05, 0.6) * fftconvolve(mixed, tail / np.linalg.norm(tail))[: mixed.size]
    return mixed


def weather(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Coloured noise in a band that swells slowly or quickly: wind, water, fans, traffic, rustling."""
    size = int(seconds * RATE_HZ)
    noise = _coloured(size, rng)
    if rng.random() < 0.6:
        low_hz = float(10.0 ** rng.uniform(1.6, 3.2))
        noise = _band(noise, low_hz, low_hz * rng.uniform(1.5, 20.0), 1)
    depth, rate_hz = rng.uniform(0.0, 8.0), float(10.0 ** rng.uniform(-0.7, 1.2))
    return noise * 10.0 ** (depth * _slow(size, rate_hz, rng) / 20.0)


def knocks(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Short resonant bursts, regular or not: typing, steps, dishes, rain, applause, crackle."""
    track, rate_hz = np.zeros(int(seconds * RATE_HZ)), float(10.0 ** rng.uniform(-0.2, 2.0))
    regular = rng.random() < 0.3
    times = np.arange(0, seconds, 1 / rate_hz) if regular else rng.uniform(0, seconds, int(seconds * rate_hz) + 1)
    time_s = np.arange(int(0.25 * RATE_HZ)) / RATE_HZ
    kinds = []
    for _ in range(int(rng.integers(1, 5))):
        hz, decay = float(10.0 ** rng.uniform(2.0, 3.8)), float(10.0 ** rng.uniform(1.0, 2.6))
        ring = np.sin(2 * np.pi * hz * time_s) * rng.uniform(0, 1) + rng.standard_normal(time_s.size) * rng.uniform(
            0, 1
        )
        kinds.append(ring * np.exp(-time_s * decay))
    for at in times:
        _add(track, kinds[int(rng.integers(len(kinds)))], int(at * RATE_HZ), float(10 ** rng.uniform(-1, 0)))
    return track + rng.uniform(0.0, 0.02) * _coloured(track.size, rng)


def beeps(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Ringing, dialling, alarms, sirens: tones that are switched or swept."""
    size = int(seconds * RATE_HZ)
    time_s = np.arange(size) / RATE_HZ
    period_s = rng.uniform(0.1, 2.0)
    phase = (time_s / period_s) % 1.0
    lowest = float(10.0 ** rng.uniform(2.4, 3.4))
    shape = [np.zeros(size), phase, np.abs(2 * phase - 1), np.sin(2 * np.pi * phase), (phase > 0.5) * 1.0]
    sweep = lowest * 2.0 ** (rng.uniform(0.0, 1.5) * shape[int(rng.integers(len(shape)))])
    angle = 2 * np.pi * np.cumsum(sweep) / RATE_HZ
    ratio = float(rng.choice([1.0, 1.25, 1.336, 1.5, 2.0, 3.0]))
    made = np.sin(angle) + rng.uniform(0, 1) * np.sin(ratio * angle)
    if rng.random() < 0.3:
        made = np.sign(made)
    gate = (phase < rng.uniform(0.2, 0.9)) if rng.random() < 0.7 else np.ones(size)
    return made * gate + rng.uniform(0.0, 0.05) * _coloured(size, rng)


def engine(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Pulses of slowly changing rate through resonances: motors, drills, hum, blades."""
    size = int(seconds * RATE_HZ)
    rate_hz = float(10.0 ** rng.uniform(1.0, 2.6)) * 2.0 ** (rng.uniform(0.0, 0.4) * _slow(size, 0.5, rng))
    angle = np.cumsum(rate_hz) / RATE_HZ
    pulses = np.diff(np.floor(angle), prepend=0.0) * (1.0 + 0.3 * rng.standard_normal(size))
    made = pulses + rng.uniform(0.0, 0.2) * _coloured(size, rng)
    for _ in range(int(rng.integers(1, 4))):
        hz = float(10.0 ** rng.uniform(1.8, 3.6))
        made = made + rng.uniform(1, 10) * _band(made, hz * 0.9, hz * 1.1, 1)
    return made


def birds(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Whistled glides between 800 Hz and 7 kHz, chirps and insects, over a little noise."""
    track = np.zeros(int(seconds * RATE_HZ))
    base, at = float(10.0 ** rng.uniform(2.9, 3.7)), 0.0
    while at < seconds:
        size = int(rng.uniform(0.03, 0.4) * RATE_HZ)
        sweep = base * 2.0 ** (rng.uniform(-0.8, 0.8) * np.linspace(0, 1, size) + 0.1 * _slow(size, 20.0, rng))
        chirp = np.sin(2 * np.pi * np.cumsum(np.minimum(sweep, 7_500.0)) / RATE_HZ) * np.hanning(size)
        for copy in range(int(rng.integers(1, 6))):
            _add(track, chirp, int((at + copy * size / RATE_HZ * 1.3) * RATE_HZ), rng.uniform(0.3, 1.0))
        at += rng.uniform(0.05, 1.2)
    return track + rng.uniform(0.0, 0.05) * _coloured(track.size, rng)


def mixture(seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Two of the others together."""
    makers = (melody, drums, weather, knocks, beeps, engine, birds)
    parts = [makers[int(index)](seconds, rng) for index in rng.integers(0, len(makers), 2)]
    return np.sum([part / (part.std() + 1e-9) * rng.uniform(0.2, 1.0) for part in parts], axis=0)


MAKERS: Mapping[str, Maker] = MappingProxyType(
    {
        "melody": melody,
        "drums": drums,
        "band": band,
        "weather": weather,
        "knocks": knocks,
        "beeps": beeps,
        "engine": engine,
        "birds": birds,
        "mixture": mixture,
    }
)
