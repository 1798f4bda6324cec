"""Can the place be heard where the prompt ends? The seam test at the boundary, with what jumped there.

Without a seam the p-value is spread evenly over (0, 1], so one clip in twenty is found by chance: read ``seam_found``
between ``reference`` (a recording cut at the same place: the floor of this measure) and ``shuffled``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from evaluation.acoustics.seam import TRACKS, find_seam
from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput, Skipped

__all__ = ["METRIC"]

SOURCE = "permutation change-point test, evaluation/acoustics/seam.py"
ALPHA = 0.05
TITLES = {
    "level_db": "Level jump",
    "floor_db": "Noise floor jump",
    "low_band_db": "Jump below 300 Hz",
    "high_band_db": "Jump from 2 to 4 kHz",
    "top_band_db": "Jump above 4 kHz",
}


def _jump(track: str) -> Measure:
    return Measure(
        name=f"{track.removesuffix('_db')}_jump_db",
        title=TITLES[track],
        unit="dB",
        direction="lower",
        meaning="absolute difference of the means of up to 3 s on either side of the boundary",
        source=SOURCE,
        low=0.0,
    )


SPEC = MetricSpec(
    name="seam",
    title="Seam at the end of the prompt",
    measures=(
        Measure(
            name="seam_found",
            title="Seams found",
            unit="share",
            direction="lower",
            meaning="share of clips whose boundary test has p < 0.05; chance alone finds 5 %",
            source=SOURCE,
            low=0.0,
            high=1.0,
        ),
        Measure(
            name="p_value",
            title="p-value of the boundary",
            unit="probability",
            direction="none",
            meaning="share of shuffled blocks with a jump as large as the one at the boundary; mean 0.5 without seams",
            source=SOURCE,
            low=0.0,
            high=1.0,
        ),
        Measure(
            name="strength",
            title="Largest jump",
            unit="standard deviations",
            direction="lower",
            meaning="largest of the jumps in standard deviations of 0.2 s blocks",
            source=SOURCE,
            low=0.0,
        ),
        *(_jump(track) for track in TRACKS),
    ),
    roles=("reference", "codec", "acoustic", "continuation", "shuffled"),
    needs=frozenset({"prompt"}),
    min_duration_s=1.1,
    min_duration_source="five blocks of 0.2 s",
    version="1",
)


class SeamTest:
    spec = SPEC

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        return lambda inputs: [_compare(item) for item in inputs]

    def status(self) -> tuple[str, str]:
        return "ready", "measured, no model needed"

    def fingerprint(self) -> Mapping[str, str]:
        return {"definition": f"{SPEC.name} {SPEC.version}"}


def _compare(item: ScoreInput) -> Outcome:
    if item.prompt is None:
        return Skipped("no prompt for the clip to follow")
    seam = find_seam(item.prompt.samples, item.clip.samples)
    if seam is None:
        return Skipped("the end of the prompt or the start of the clip is silent or shorter than 1 s")
    jumps = {_jump(track).name: abs(jump) for track, jump in zip(TRACKS, seam.jumps_db, strict=True)}
    values = {"seam_found": float(seam.p_value < ALPHA), "p_value": seam.p_value, "strength": seam.strength}
    return {**values, **jumps}


METRIC = SeamTest()
