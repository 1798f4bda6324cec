"""Whether the clip has the colour, the room and the pace of its prompt: spectrum, tilt, decay, syllables per second.

Measured, no model involved; read each difference between the roles ``reference`` (how much one recording differs from
itself) and ``shuffled`` (how much two recordings differ).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from audiolm.audio import AudioClip
from evaluation.acoustics.reverberation import decay_time_s
from evaluation.acoustics.speaking_rate import syllables_per_s
from evaluation.acoustics.spectrum import long_term_spectrum_db, tilt_db_per_octave
from evaluation.metrics import MetricSpec, Outcome, ScoreInput, Skipped, prompt_difference

__all__ = ["METRIC"]


SPEC = MetricSpec(
    name="acoustic_consistency_timbre",
    title="Spectrum, room and pace of the prompt",
    measures=(
        prompt_difference(
            "spectrum_difference_db", "Long-term spectrum difference", "dB",
            "the level of 19 third octaves of active speech (mean over bands, overall level taken off)",
            "own definition, evaluation/acoustics/spectrum.py",
        ),
        prompt_difference(
            "tilt_difference_db_per_octave", "Spectral tilt difference", "dB per octave",
            "the slope of the long-term spectrum from 200 Hz to 5 kHz",
            "own definition, evaluation/acoustics/spectrum.py",
        ),
        prompt_difference(
            "decay_ratio_octaves", "Reverberation difference", "octaves",
            "the logarithm (base 2) of the time that the fastest decays take for 60 dB",
            "after Ratnam et al. 2003, evaluation/acoustics/reverberation.py; orders rooms, does not measure them",
        ),
        prompt_difference(
            "speaking_rate_difference", "Speaking rate difference", "syllables per s",
            "syllable nuclei per second, pauses included",
            "de Jong and Wempe 2009, evaluation/acoustics/speaking_rate.py",
        ),
    ),
    roles=("reference", "codec", "acoustic", "continuation", "shuffled"),
    needs=frozenset({"prompt"}),
    min_duration_s=1.0,
    min_duration_source="a second holds about four syllables",
    version="1",
)  # fmt: skip

Profile = tuple["np.ndarray | None", "float | None", "float | None"]


class Timbre:
    spec = SPEC

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        def score(inputs: Sequence[ScoreInput]) -> list[Outcome]:
            known: dict[int, Profile] = {}
            return [_compare(item, known) for item in inputs]

        return score

    def status(self) -> tuple[str, str]:
        return "ready", "measured, no model needed"

    def fingerprint(self) -> Mapping[str, str]:
        return {"definition": f"{SPEC.name} {SPEC.version}"}


def _profile(clip: AudioClip, known: dict[int, Profile]) -> Profile:
    """Spectrum, decay time and rate; a clip that several items of the batch share is measured once."""
    if id(clip) not in known:
        samples, rate = clip.samples, clip.sample_rate_hz
        known[id(clip)] = (
            long_term_spectrum_db(samples, rate), decay_time_s(samples, rate), syllables_per_s(samples, rate)
        )  # fmt: skip
    return known[id(clip)]


def _compare(item: ScoreInput, known: dict[int, Profile]) -> Outcome:
    if item.prompt is None:
        return Skipped("no prompt to compare with")
    before, after = _profile(item.prompt, known), _profile(item.clip, known)
    if before[0] is None or after[0] is None:
        return Skipped(f"the {'prompt' if before[0] is None else 'clip'} is silent")
    decays, rates = (before[1], after[1]), (before[2], after[2])
    return {
        "spectrum_difference_db": float(np.abs(after[0] - before[0]).mean()),
        "tilt_difference_db_per_octave": abs(tilt_db_per_octave(after[0]) - tilt_db_per_octave(before[0])),
        "decay_ratio_octaves": Skipped("fewer than five decays in prompt or clip")
        if decays[0] is None or decays[1] is None
        else abs(float(np.log2(decays[1] / decays[0]))),
        "speaking_rate_difference": Skipped("no speech band in prompt or clip")
        if rates[0] is None or rates[1] is None
        else abs(rates[1] - rates[0]),
    }


METRIC = Timbre()
