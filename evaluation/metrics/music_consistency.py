"""Does music go on as its prompt began: pitch classes (key, harmony) and how many notes begin per second.

For music only, so it runs where it is asked for by name. Known limits: tuning is taken to be A = 440 Hz; a modulation
counts as a difference; notes that begin within 50 ms of each other count as one, so fast passages are undercounted
alike in prompt and clip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from evaluation.acoustics.music import mean_chroma, onset_times_s
from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput, Skipped

__all__ = ["METRIC", "MusicConsistency"]

HALF_NOTE = 0.5
"""Added to both counts, so that a clip without any note has a rate and counts as very different."""

SPEC = MetricSpec(
    name="music_consistency",
    title="Music: harmony and pace against the prompt",
    measures=(
        Measure(
            name="chroma_correlation",
            title="Pitch classes alike",
            unit="correlation",
            direction="higher",
            meaning="correlation of the mean energy of the twelve pitch classes in the clip with that in the prompt",
            source="chroma after Muller 2015, section 3.1.2; 110 to 3520 Hz, A = 440 Hz",
            low=-1.0,
            high=1.0,
        ),
        Measure(
            name="onset_rate_difference_octaves",
            title="Pace difference",
            unit="octaves",
            direction="lower",
            meaning="absolute log2 of the ratio of note onsets per second, clip to prompt: 1 is twice or half as many",
            source="spectral flux after Bello et al. 2005",
            low=0.0,
        ),
    ),
    roles=("reference", "codec", "acoustic", "continuation", "shuffled"),
    needs=frozenset({"prompt"}),
    min_duration_s=1.0,
    min_duration_source="fewer than a few notes say nothing of key or pace",
    version="1",
    on_request=True,
)


class MusicConsistency:
    spec = SPEC

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        def score(inputs: Sequence[ScoreInput]) -> list[Outcome]:
            return [_compare(item) for item in inputs]

        return score

    def status(self) -> tuple[str, str]:
        return "ready", "measured, no model needed; for music, runs when asked for by name"

    def fingerprint(self) -> Mapping[str, str]:
        return {"definition": f"{SPEC.name} {SPEC.version}"}


def _compare(item: ScoreInput) -> Outcome:
    if item.prompt is None:
        return Skipped("no prompt to compare the music with")
    prompt = mean_chroma(item.prompt.samples, item.prompt.sample_rate_hz)
    if prompt is None:
        return Skipped("the prompt is silent")
    clip = mean_chroma(item.clip.samples, item.clip.sample_rate_hz)
    if clip is None:
        return Skipped("the clip is silent")
    if np.ptp(prompt) == 0 or np.ptp(clip) == 0:
        return Skipped("all pitch classes are equally strong, so there is no harmony to compare")
    pace = [
        (len(onset_times_s(one.samples, one.sample_rate_hz)) + HALF_NOTE) / one.duration_s
        for one in (item.clip, item.prompt)
    ]
    return {
        "chroma_correlation": float(np.clip(np.corrcoef(prompt, clip)[0, 1], -1.0, 1.0)),
        "onset_rate_difference_octaves": abs(float(np.log2(pace[0] / pace[1]))),
    }


METRIC = MusicConsistency()
