"""Whether the clip sounds recorded in the place of its prompt: level, noise and bandwidth, prompt against clip.

Measured, no model involved. A listener hears such a jump as a splice; the paper's continuations keep "recording
conditions" (Borsos et al. 2023, section I). Read each difference between the roles ``reference`` (how much one
recording differs from itself) and ``shuffled`` (how much two recordings differ).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from audiolm.audio import AudioClip
from evaluation.acoustics.signal_profile import SignalProfile, profile_signal
from evaluation.metrics import MetricSpec, Outcome, ScoreInput, Skipped, prompt_difference

__all__ = ["METRIC"]


SPEC = MetricSpec(
    name="acoustic_consistency",
    title="Acoustic consistency with the prompt",
    measures=(
        prompt_difference(
            "loudness_difference_lu", "Loudness difference", "LU", "integrated loudness", "ITU-R BS.1770-4"
        ),
        prompt_difference(
            "noise_floor_difference_db",
            "Noise floor difference",
            "dB",
            "the level of the quietest tenth of 40 ms frames",
            "own definition, evaluation/acoustics/noise.py",
        ),
        prompt_difference(
            "snr_difference_db",
            "Signal-to-noise difference",
            "dB",
            "the ratio of active speech to the noise floor",
            "own definition, evaluation/acoustics/noise.py",
        ),
        prompt_difference(
            "bandwidth_difference_hz",
            "Bandwidth difference",
            "Hz",
            "the frequency above which the average spectrum stays 60 dB under its peak",
            "own definition, evaluation/acoustics/bandwidth.py",
        ),
    ),
    roles=("reference", "codec", "acoustic", "continuation", "shuffled"),
    needs=frozenset({"prompt"}),
    min_duration_s=0.5,
    min_duration_source="one loudness block of BS.1770 is 0.4 s",
    version="1",
)


class AcousticConsistency:
    spec = SPEC

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        def score(inputs: Sequence[ScoreInput]) -> list[Outcome]:
            known: dict[int, SignalProfile | None] = {}
            return [_compare(item, known) for item in inputs]

        return score

    def status(self) -> tuple[str, str]:
        return "ready", "measured, no model needed"

    def fingerprint(self) -> Mapping[str, str]:
        return {"definition": f"{SPEC.name} {SPEC.version}"}


def _profile(clip: AudioClip, known: dict[int, SignalProfile | None]) -> SignalProfile | None:
    """The clip's profile; a prompt that several items of the batch share is measured once."""
    if id(clip) not in known:
        known[id(clip)] = profile_signal(clip)
    return known[id(clip)]


def _compare(item: ScoreInput, known: dict[int, SignalProfile | None]) -> Outcome:
    if item.prompt is None:
        return Skipped("no prompt to compare with")
    prompt, clip = _profile(item.prompt, known), _profile(item.clip, known)
    if prompt is None:
        return Skipped("the prompt is silent or shorter than 0.4 s")
    if clip is None:
        return Skipped("the clip is silent or shorter than 0.4 s")
    return {
        "loudness_difference_lu": abs(clip.loudness_lufs - prompt.loudness_lufs),
        "noise_floor_difference_db": abs(clip.noise_floor_dbfs - prompt.noise_floor_dbfs),
        "snr_difference_db": abs(clip.snr_db - prompt.snr_db),
        "bandwidth_difference_hz": abs(clip.bandwidth_hz - prompt.bandwidth_hz),
    }


METRIC = AcousticConsistency()
