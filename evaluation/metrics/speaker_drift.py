"""Does the voice stay with the prompt? Speaker cosine to the prompt, window by window, along the clip.

A continuation that starts as the prompt's speaker and ends as somebody else has a good mean and a falling line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from audiolm.audio import AudioClip
from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput, Skipped
from evaluation.speaker import SpeakerEncoder, embed_all, find_encoder

__all__ = ["METRIC", "window_cosines"]

WINDOW_S, STEP_S = 1.6, 0.8
"""One window of the encoder, moved by its half."""
MIN_WINDOWS = 2
SOURCE = "least squares over windows of 1.6 s every 0.8 s, evaluation/metrics/speaker_drift.py"

SPEC = MetricSpec(
    name="speaker_drift",
    title="Speaker drift",
    measures=(
        Measure(
            name="drift_per_s",
            title="Drift of the speaker similarity",
            unit="cosine per s",
            direction="none",
            meaning="slope of the cosine to the prompt over time; below 0 the voice leaves the prompt",
            source=SOURCE,
        ),
        Measure(
            name="first_cosine",
            title="Speaker similarity at the start",
            unit="cosine",
            direction="higher",
            meaning="cosine to the prompt of the first window with speech",
            source=SOURCE,
            low=-1.0,
            high=1.0,
        ),
        Measure(
            name="last_cosine",
            title="Speaker similarity at the end",
            unit="cosine",
            direction="higher",
            meaning="cosine to the prompt of the last window with speech",
            source=SOURCE,
            low=-1.0,
            high=1.0,
        ),
    ),
    roles=("reference", "codec", "acoustic", "continuation", "shuffled"),
    needs=frozenset({"prompt"}),
    min_duration_s=WINDOW_S + STEP_S,
    min_duration_source="two windows",
    version="2",
)


def window_cosines(encoder: SpeakerEncoder, prompt: np.ndarray, clip: AudioClip) -> tuple[np.ndarray, np.ndarray]:
    """``(time of the middle in s, cosine to the prompt)`` of each window with speech, both ``[window]``."""
    count = int((clip.duration_s - WINDOW_S) / STEP_S + 1e-6) + 1
    starts = [number * STEP_S for number in range(count)]
    vectors = embed_all(encoder, [clip.cut(start, start + WINDOW_S) for start in starts])
    heard = [(start, vector) for start, vector in zip(starts, vectors, strict=True) if vector is not None]
    cosines = [float(np.dot(prompt.astype(np.float64), vector.astype(np.float64))) for _, vector in heard]
    return np.array([start + WINDOW_S / 2 for start, _ in heard]), np.clip(np.array(cosines), -1.0, 1.0)


class SpeakerDrift:
    spec = SPEC

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        encoder = find_encoder().load(device)
        return lambda inputs: [_follow(encoder, item) for item in inputs]

    def status(self) -> tuple[str, str]:
        return find_encoder().status()

    def fingerprint(self) -> Mapping[str, str]:
        return find_encoder().fingerprint()


def _follow(encoder: SpeakerEncoder, item: ScoreInput) -> Outcome:
    if item.prompt is None:
        return Skipped("no prompt to compare the speaker with")
    prompt = encoder.embed(item.prompt)
    if prompt is None:
        return Skipped("the prompt holds less than 0.5 s of speech")
    times, cosines = window_cosines(encoder, prompt, item.clip)
    if len(times) < MIN_WINDOWS:
        return Skipped("fewer than two windows of the clip hold 0.5 s of speech")
    centred = times - times.mean()
    slope = float(centred @ (cosines - cosines.mean())) / float(centred @ centred)
    return {"drift_per_s": slope, "first_cosine": float(cosines[0]), "last_cosine": float(cosines[-1])}


METRIC = SpeakerDrift()
