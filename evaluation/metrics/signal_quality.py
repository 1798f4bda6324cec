"""What a clip's signal is like, without anything to compare it with: level, noise, bandwidth, clipping, silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from audiolm.audio import AudioClip
from evaluation.acoustics.level import frame_levels_dbfs
from evaluation.acoustics.signal_profile import profile_signal
from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput, Skipped

__all__ = ["METRIC", "clipped_share", "silent_share"]

FULL_SCALE = 0.999
"""Two steps of 16-bit audio under full scale and rounding: what a converter gives for a sample beyond its range."""
MIN_CLIPPED_RUN = 3
"""A single sample at full scale is a peak; three in a row are a flat top."""
SILENT_BELOW_LOUD_DB = 40.0
SILENT_DBFS = -60.0


def _measure(name: str, title: str, unit: str, direction: str, meaning: str, source: str, *limits: float) -> Measure:
    low, high = (limits + (None, None))[:2] if limits else (None, None)
    return Measure(
        name=name, title=title, unit=unit, direction=direction, meaning=meaning, source=source, low=low, high=high
    )


OWN = "own definition, evaluation/acoustics"

SPEC = MetricSpec(
    name="signal_quality",
    title="Signal quality",
    measures=(
        _measure("loudness_lufs", "Loudness", "LUFS", "none", "gated loudness of the clip", "ITU-R BS.1770-4"),
        _measure("noise_floor_dbfs", "Noise floor", "dBFS", "lower", "level of the quietest frames", OWN, -100.0),
        _measure("snr_db", "Signal to noise", "dB", "higher", "active speech over the noise floor", OWN, -20.0, 100.0),
        _measure("bandwidth_hz", "Bandwidth", "Hz", "higher", "upper edge, 60 dB under the peak", OWN, 0.0),
        _measure(
            "clipping_share",
            "Clipped samples",
            "share",
            "lower",
            "share of samples in flat tops of three or more at full scale",
            OWN,
            0.0,
            1.0,
        ),
        _measure(
            "silence_share",
            "Silence",
            "share",
            "none",
            "share of 30 ms frames under -60 dBFS or 40 dB under the loud ones",
            OWN,
            0.0,
            1.0,
        ),
    ),
    roles=("reference", "codec", "acoustic", "continuation", "unconditional", "recorded"),
    min_duration_s=0.5,
    min_duration_source="one loudness block of BS.1770 is 0.4 s",
    version="1",
)


def clipped_share(samples: np.ndarray) -> float:
    """Share of samples that belong to runs of three or more at full scale with one sign."""
    share = 0
    for sign in (1.0, -1.0):
        edges = np.diff(np.concatenate([[0], (samples * sign >= FULL_SCALE).astype(np.int8), [0]]))
        lengths = np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)
        share += int(lengths[lengths >= MIN_CLIPPED_RUN].sum())
    return share / len(samples)


def silent_share(clip: AudioClip) -> float:
    """Share of 30 ms frames under -60 dBFS or 40 dB under the 95th percentile of frame levels."""
    levels = frame_levels_dbfs(clip.samples, clip.sample_rate_hz)
    return float((levels < max(SILENT_DBFS, np.percentile(levels, 95) - SILENT_BELOW_LOUD_DB)).mean())


class SignalQuality:
    spec = SPEC

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        def score(inputs: Sequence[ScoreInput]) -> list[Outcome]:
            return [_describe(item.clip) for item in inputs]

        return score

    def status(self) -> tuple[str, str]:
        return "ready", "measured, no model needed"

    def fingerprint(self) -> Mapping[str, str]:
        return {"definition": f"{SPEC.name} {SPEC.version}"}


def _describe(clip: AudioClip) -> Outcome:
    profile = profile_signal(clip)
    if profile is None:
        return Skipped("the clip is silent or shorter than 0.4 s")
    return {
        "loudness_lufs": profile.loudness_lufs,
        "noise_floor_dbfs": profile.noise_floor_dbfs,
        "snr_db": profile.snr_db,
        "bandwidth_hz": profile.bandwidth_hz,
        "clipping_share": clipped_share(clip.samples),
        "silence_share": silent_share(clip),
    }


METRIC = SignalQuality()
