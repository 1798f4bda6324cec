"""Partly synthetic recordings: is the place found? Genuine speech joined to synthetic speech, scored on a time grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import detectors
from detectors.error_rates import eer
from detectors.labelled import LabelledClip
from detectors.localisation import find_segments, seams
from detectors.windowed import WindowedDetector
from evaluation.bootstrap import Resampler
from evaluation.robustness_rates import Judged, share

__all__ = ["Partial", "join_partial", "localisation", "partial_clips"]

RATE_HZ = 16_000
FADE = 160
GRID_S = 0.16
SEAM_WITHIN_S = 0.5
PART_S = 3.0


@dataclass(frozen=True, slots=True)
class Partial:
    """``spans_s``: where it is synthetic, in seconds; ``kind``: what was done."""

    samples: np.ndarray
    spans_s: tuple[tuple[float, float], ...]
    kind: str
    speaker_id: str


def _levelled(samples: np.ndarray, like: np.ndarray) -> np.ndarray:
    gain = np.sqrt((np.mean(like.astype(np.float64) ** 2) + 1e-12) / (np.mean(samples.astype(np.float64) ** 2) + 1e-12))
    return (samples * gain).astype(np.float32)


def join_partial(parts: Sequence[tuple[np.ndarray, bool]]) -> tuple[np.ndarray, tuple[tuple[float, float], ...]]:
    """Parts ``(samples, is synthetic)`` joined at one level with 10 ms cross-fades; and the synthetic spans."""
    made, spans = parts[0][0].astype(np.float32), []
    if parts[0][1]:
        spans.append((0.0, made.size / RATE_HZ))
    for samples, synthetic in parts[1:]:
        piece = _levelled(samples, parts[0][0])
        ramp = np.linspace(0.0, 1.0, FADE, dtype=np.float32)
        start = made.size - FADE
        made = np.concatenate([made[:start], made[start:] * (1 - ramp) + piece[:FADE] * ramp, piece[FADE:]])
        if synthetic:
            spans.append(((start + FADE / 2) / RATE_HZ, made.size / RATE_HZ))
    return made, tuple(spans)


def partial_clips(clips: Sequence[LabelledClip], count: int, seed: int) -> list[Partial]:
    """``count`` of each kind: genuine throughout, a synthetic end, a synthetic middle. Parts last 3 s.

    The synthetic part comes from the same recording where a re-synthesis of it is at hand (same voice and words), else
    from any clip of the generator.
    """
    rng = np.random.default_rng([seed, 5])
    size = int(PART_S * RATE_HZ)
    human = [clip for clip in clips if clip.is_bona_fide and clip.samples.size >= 2 * size]
    made = [clip for clip in clips if not clip.is_bona_fide and clip.samples.size >= size]
    if not human or not made:
        return []
    found = []
    for number in range(count):
        real = human[number % len(human)]
        first, second = real.samples[:size], real.samples[size : 2 * size]
        kin = [clip for clip in made if clip.utterance_id.endswith(real.utterance_id) and clip.samples.size >= 2 * size]
        other = kin[int(rng.integers(len(kin)))] if kin else made[int(rng.integers(len(made)))]
        fake = other.samples[size : 2 * size] if kin else other.samples[:size]
        for kind, parts in (
            ("genuine throughout", [(first, False), (second, False)]),
            ("synthetic end", [(first, False), (fake, True)]),
            ("synthetic middle", [(first, False), (fake, True), (second, False)]),
        ):
            samples, spans = join_partial(parts)
            found.append(Partial(samples, spans, kind, real.speaker_id))
    return found


def _frames(detector: detectors.Detector, samples: np.ndarray) -> tuple[tuple[float, float, float], ...]:
    if isinstance(detector, WindowedDetector):
        verdict = detector.judge_blocks([samples], RATE_HZ, frames=True)
    else:
        verdict = detector.judge(samples, RATE_HZ)
    return verdict.frames or verdict.timeline


def _on_grid(frames: Sequence[tuple[float, float, float]], times_s: np.ndarray) -> np.ndarray:
    """Mean score of the windows over each time; NaN where there is none."""
    starts, ends, llrs = (np.asarray(column) for column in zip(*frames, strict=True))
    inside = (starts <= times_s[:, None]) & (ends > times_s[:, None])
    count = inside.sum(axis=1)
    return np.where(count > 0, inside @ llrs / np.maximum(count, 1), np.nan)


def localisation(
    detector: detectors.Detector, partials: Sequence[Partial], threshold: float, resampler: Resampler
) -> dict[str, Any]:
    """Time-grid (160 ms) EER, precision, recall and F1 of the segments; seam error; seams found where none is."""
    scores, truth, called, errors, judged_seam, judged_clean = [], [], [], [], [], []
    for one in partials:
        frames = _frames(detector, one.samples)
        if not frames:
            continue
        segments = find_segments(frames, threshold)
        times_s = np.arange(GRID_S / 2, one.samples.size / RATE_HZ, GRID_S)
        values = _on_grid(frames, times_s)
        usable = np.isfinite(values)
        scores.append(values[usable])
        truth.append(np.any([(times_s >= a) & (times_s < b) for a, b in one.spans_s] or [times_s < 0], axis=0)[usable])
        marked = [(part.start_s, part.end_s) for part in segments if part.label == "synthetic"]
        called.append(np.any([(times_s >= a) & (times_s < b) for a, b in marked] or [times_s < 0], axis=0)[usable])
        found = seams(segments)
        if not one.spans_s:
            judged_clean.append(Judged(True, one.speaker_id, one.kind, float(len(found))))
            continue
        error = min((abs(at - one.spans_s[0][0]) for at in found), default=np.inf)
        errors.append(error)
        judged_seam.append(Judged(False, one.speaker_id, one.kind, float(error)))
    if not errors:
        return {}
    flat, is_synth, marks = np.concatenate(scores), np.concatenate(truth), np.concatenate(called)
    hits, claimed, there = int((marks & is_synth).sum()), int(marks.sum()), int(is_synth.sum())
    return {
        "grid_s": GRID_S,
        "grid_eer": round(eer(flat[~is_synth], flat[is_synth]), 6),
        "precision": round(hits / claimed, 6) if claimed else None,
        "recall": round(hits / there, 6) if there else None,
        "f1": round(2 * hits / (claimed + there), 6) if claimed + there else None,
        "seam_within_0.5_s": share(judged_seam, lambda one: (one.llr or 0.0) <= SEAM_WITHIN_S, resampler),
        "median_seam_error_s": round(float(np.median(errors)), 3) if np.isfinite(np.median(errors)) else None,
        "genuine_with_a_seam": share(judged_clean, lambda one: (one.llr or 0.0) > 0, resampler),
    }
