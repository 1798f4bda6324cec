"""Pitch of a clip by itself: median, range and how much of it is voiced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from evaluation.acoustics.f0 import summarise_pitch
from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput, Skipped

__all__ = ["METRIC"]

SOURCE = "YIN (de Cheveigne and Kawahara 2002), evaluation/acoustics/f0.py"


def _measure(name: str, title: str, unit: str, meaning: str, low: float, high: float | None) -> Measure:
    return Measure(
        name=name, title=title, unit=unit, direction="none", meaning=meaning, source=SOURCE, low=low, high=high
    )


SPEC = MetricSpec(
    name="pitch",
    title="Pitch",
    measures=(
        _measure("f0_median_hz", "Median pitch", "Hz", "median fundamental frequency of voiced frames", 60.0, 500.0),
        _measure(
            "f0_range_semitones",
            "Pitch range",
            "semitones",
            "distance of the 90th from the 10th percentile of the fundamental frequency",
            0.0,
            None,
        ),
        _measure("voiced_share", "Voiced frames", "share", "share of 10 ms frames that have a pitch", 0.0, 1.0),
    ),
    roles=("reference", "codec", "acoustic", "continuation", "unconditional", "recorded"),
    min_duration_s=0.5,
    min_duration_source="ten voiced frames are needed, and about half of speech is voiced",
    version="2",
)


class Pitch:
    spec = SPEC

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        def score(inputs: Sequence[ScoreInput]) -> list[Outcome]:
            return [_describe(item) for item in inputs]

        return score

    def status(self) -> tuple[str, str]:
        return "ready", "measured, no model needed"

    def fingerprint(self) -> Mapping[str, str]:
        return {"definition": f"{SPEC.name} {SPEC.version}"}


def _describe(item: ScoreInput) -> Outcome:
    pitch = summarise_pitch(item.clip.samples, item.clip.sample_rate_hz)
    if pitch is None:
        return Skipped("the clip has no voiced speech (fewer than 10 voiced frames)")
    return {
        "f0_median_hz": pitch.median_hz,
        "f0_range_semitones": pitch.range_semitones,
        "voiced_share": pitch.voiced_share,
    }


METRIC = Pitch()
