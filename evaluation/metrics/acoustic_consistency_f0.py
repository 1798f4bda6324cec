"""Whether the clip keeps the pitch of its prompt: median and range of the fundamental frequency, prompt against clip.

Kept apart from ``acoustic_consistency`` because a whispered or noisy clip has no pitch and is skipped here alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from audiolm.audio import AudioClip
from evaluation.acoustics.f0 import PitchSummary, semitones, summarise_pitch
from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput, Skipped

__all__ = ["METRIC"]

SOURCE = "YIN (de Cheveigne and Kawahara 2002), evaluation/acoustics/f0.py"

SPEC = MetricSpec(
    name="acoustic_consistency_f0",
    title="Pitch consistency with the prompt",
    measures=(
        Measure(
            name="f0_difference_semitones",
            title="Median pitch difference",
            unit="semitones",
            direction="lower",
            meaning="absolute distance of the clip's median fundamental frequency from the prompt's",
            source=SOURCE,
            low=0.0,
        ),
        Measure(
            name="f0_range_difference_semitones",
            title="Pitch range difference",
            unit="semitones",
            direction="lower",
            meaning="absolute difference of the 10th-to-90th percentile range of pitch",
            source=SOURCE,
            low=0.0,
        ),
    ),
    roles=("reference", "codec", "acoustic", "continuation", "shuffled"),
    needs=frozenset({"prompt"}),
    min_duration_s=0.5,
    min_duration_source="ten voiced frames are needed, and about half of speech is voiced",
    version="2",
)


class AcousticConsistencyF0:
    spec = SPEC

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        def score(inputs: Sequence[ScoreInput]) -> list[Outcome]:
            known: dict[int, PitchSummary | None] = {}
            return [_compare(item, known) for item in inputs]

        return score

    def status(self) -> tuple[str, str]:
        return "ready", "measured, no model needed"

    def fingerprint(self) -> Mapping[str, str]:
        return {"definition": f"{SPEC.name} {SPEC.version}"}


def _pitch(clip: AudioClip, known: dict[int, PitchSummary | None]) -> PitchSummary | None:
    """The clip's pitch; a prompt that several items of the batch share is measured once."""
    if id(clip) not in known:
        known[id(clip)] = summarise_pitch(clip.samples, clip.sample_rate_hz)
    return known[id(clip)]


def _compare(item: ScoreInput, known: dict[int, PitchSummary | None]) -> Outcome:
    if item.prompt is None:
        return Skipped("no prompt to compare the pitch with")
    prompt = _pitch(item.prompt, known)
    if prompt is None:
        return Skipped("the prompt has no voiced speech (fewer than 10 voiced frames)")
    clip = _pitch(item.clip, known)
    if clip is None:
        return Skipped("the clip has no voiced speech (fewer than 10 voiced frames)")
    return {
        "f0_difference_semitones": abs(float(semitones(clip.median_hz, prompt.median_hz))),
        "f0_range_difference_semitones": abs(clip.range_semitones - prompt.range_semitones),
    }


METRIC = AcousticConsistencyF0()
