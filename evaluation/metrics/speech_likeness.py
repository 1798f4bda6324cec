"""Whether a clip is speech-like at all: voiced about as much as read speech is, not stuck in a loop, not fallen silent.

A generation model that fails often fails like this, and neither a recogniser nor a speaker encoder says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from evaluation.acoustics.f0 import track_pitch
from evaluation.acoustics.repetition import longest_loop_s, longest_silence_s
from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput

__all__ = ["LIMIT_S", "METRIC", "VOICED_RANGE", "is_speech_like"]

LIMIT_S = 1.0
"""Limit of silences and loops."""
VOICED_RANGE = (0.056, 0.664)
"""1st and 99th percentile of 200 crops of 4 s of read speech by 193 speakers (LibriSpeech, VCTK and LJ Speech files of
the corpus's train split, crop at random). There a silence is longer than 1 s in 7 % of crops, a loop in 0.5 %, and
90 % of crops are speech-like: that is the ceiling."""

OWN = "own definition, evaluation/acoustics/repetition.py"

SPEC = MetricSpec(
    name="speech_likeness",
    title="Speech-likeness",
    measures=(
        Measure(
            name="speech_like",
            title="Speech-like clips",
            unit="share",
            direction="higher",
            meaning="share of clips voiced like read speech, without a silence or a loop longer than 1 s",
            source="range measured on bona fide speech, evaluation/metrics/speech_likeness.py",
            low=0.0,
            high=1.0,
        ),
        Measure(
            name="voiced_share",
            title="Voiced frames",
            unit="share",
            direction="none",
            meaning="share of 10 ms frames that have a pitch",
            source="YIN (de Cheveigne and Kawahara 2002), evaluation/acoustics/f0.py",
            low=0.0,
            high=1.0,
        ),
        Measure(
            name="longest_silence_s",
            title="Longest silence",
            unit="s",
            direction="lower",
            meaning="longest stretch under -60 dBFS or 35 dB under the loud frames",
            source=OWN,
            low=0.0,
        ),
        Measure(
            name="longest_loop_s",
            title="Longest loop",
            unit="s",
            direction="lower",
            meaning="longest stretch of sound that comes again in the clip; a steady tone repeats itself",
            source=OWN,
            low=0.0,
        ),
    ),
    roles=("reference", "codec", "acoustic", "continuation", "unconditional", "recorded"),
    min_duration_s=1.5,
    min_duration_source="a silence or loop longer than 1 s must fit in",
    version="2",
)


def is_speech_like(voiced_share: float, silence_s: float, loop_s: float) -> bool:
    """All three at once: voicing inside ``VOICED_RANGE``, silence and loop not above ``LIMIT_S``."""
    low, high = VOICED_RANGE
    return low <= voiced_share <= high and silence_s <= LIMIT_S and loop_s <= LIMIT_S


class SpeechLikeness:
    spec = SPEC

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        return lambda inputs: [_describe(item.clip.samples, item.clip.sample_rate_hz) for item in inputs]

    def status(self) -> tuple[str, str]:
        return "ready", "measured, no model needed"

    def fingerprint(self) -> Mapping[str, str]:
        return {"definition": f"{SPEC.name} {SPEC.version}", "voiced_range": f"{VOICED_RANGE}", "limit_s": f"{LIMIT_S}"}


def _describe(samples: np.ndarray, sample_rate_hz: int) -> Outcome:
    """A silent clip has values like any other: it is a failure of the system, not of the measure."""
    voiced = float(np.isfinite(track_pitch(samples, sample_rate_hz)).mean())
    silence_s = longest_silence_s(samples, sample_rate_hz)
    loop_s = longest_loop_s(samples, sample_rate_hz)
    return {
        "speech_like": float(is_speech_like(voiced, silence_s, loop_s)),
        "voiced_share": voiced,
        "longest_silence_s": silence_s,
        "longest_loop_s": loop_s,
    }


METRIC = SpeechLikeness()
