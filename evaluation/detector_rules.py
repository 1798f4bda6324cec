"""Speech made anew as a machine that follows rules would say it: few targets, and plain ways from one to the next.

Formant synthesisers, and models that predict a vocoder's parameters, move what people's mouths never move so simply:
an envelope that holds and glides, pitch of straight lines, sounds that are voiced or are not, pauses that are empty. A
recording gives the targets; how many, how they are joined, and what says them is drawn for each clip.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from evaluation.detector_harmonics import SIZE, STEPS, drawn_pitch, said_by_harmonics, smoothed_envelope
from evaluation.detector_levels import at_level_of

__all__ = ["rules_drawn"]

RATE_HZ = 16_000
SEGMENT_S = (0.025, 0.13)
"""From one target of the envelope to the next, on average: drawn for each clip."""
QUIET_NATS = -4.5
"""A segment so far below the loudest is a pause."""
TINY = 1e-7


def rules_drawn(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Float32 ``[time]`` at 16 kHz said again from few targets; same length and level."""
    pitch_hz, voiced = drawn_pitch(samples, rng)
    step = int(rng.choice(STEPS))
    log = np.log(smoothed_envelope(samples, step, rng) + TINY)
    edges = _edges(len(log), step, rng)
    log = _shaped(_joined(log, edges, rng), rng)
    samples_at = np.minimum(edges * step, samples.size)
    made = said_by_harmonics(np.exp(log), _straight(pitch_hz, rng), _decided(voiced, samples_at, rng), step, rng)
    return at_level_of(made, samples)


def _edges(frames: int, step: int, rng: np.random.Generator) -> np.ndarray:
    """Frames where segments begin, and the end: ``0 = edge_0 < edge_1 < ... = frames``."""
    mean = float(rng.uniform(*SEGMENT_S)) * RATE_HZ / step
    lengths = np.maximum(1, np.round(mean * rng.uniform(0.5, 1.5, int(3 * frames / mean) + 2)).astype(int))
    inner = np.cumsum(lengths)
    return np.concatenate([[0], inner[inner < frames], [frames]])


def _joined(log: np.ndarray, edges: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The envelope amid every segment, held for a part of it, then on to the next by a line or an S."""
    targets = log[(edges[:-1] + edges[1:]) // 2].copy()
    loudest = float(targets.mean(axis=1).max())
    if rng.random() < 0.5:
        targets[targets.mean(axis=1) < loudest + QUIET_NATS] = np.log(TINY)
    held = float(rng.uniform(0.0, 0.8))
    middles = (edges[:-1] + edges[1:]) / 2
    place = np.interp(np.arange(len(log)) + 0.5, middles, np.arange(len(middles)))
    share = np.clip((place % 1.0 - held / 2) / (1.0 - held), 0.0, 1.0)
    if rng.random() < 0.5:
        share = share * share * (3.0 - 2.0 * share)
    before = np.floor(place).astype(int)
    after = np.minimum(before + 1, len(targets) - 1)
    return targets[before] * (1.0 - share[:, None]) + targets[after] * share[:, None]


def _shaped(log: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Peaks sharper or blunter than they were, and a slope over the whole band, as a synthesiser's own voice has."""
    mean = log.mean(axis=1, keepdims=True)
    kilohertz = np.linspace(0.0, RATE_HZ / 2000, SIZE // 2 + 1)
    slope = float(rng.normal(0.0, 0.15)) * (kilohertz - kilohertz.mean())
    return mean + (log - mean) * float(rng.uniform(0.85, 1.4)) + slope


def _straight(pitch_hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pitch along lines between a few of its values, with less or more range, at times a monotone."""
    count = max(2, int(pitch_hz.size / RATE_HZ / float(rng.uniform(0.12, 0.6))))
    at = np.sort(rng.uniform(0, pitch_hz.size - 1, count)).astype(int)
    log = np.interp(np.arange(pitch_hz.size), at, np.log(pitch_hz)[at])
    middle = float(np.median(log))
    return np.exp(middle + (log - middle) * float(rng.choice([0.0, 0.5, 1.0, 1.0, 1.3])))


def _decided(voiced: np.ndarray, edges: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Voiced or not by segment, with short ways between; at times as it was."""
    if rng.random() < 0.25:
        return voiced
    ends = np.unique(np.append(edges, voiced.size))
    decided = np.concatenate(
        [np.full(b - a, float(voiced[a:b].mean() > 0.5)) for a, b in zip(ends[:-1], ends[1:], strict=True)]
    )
    return np.clip(gaussian_filter1d(decided, float(rng.uniform(0.001, 0.008)) * RATE_HZ), 0.0, 1.0)
