"""The four numbers that describe a clip's recording: loudness, noise floor, signal-to-noise ratio, bandwidth."""

from __future__ import annotations

from dataclasses import dataclass

from audiolm.audio import AudioClip
from evaluation.acoustics.bandwidth import effective_bandwidth_hz
from evaluation.acoustics.level import BLOCK_S, integrated_loudness_lufs
from evaluation.acoustics.noise import estimate_noise

__all__ = ["SignalProfile", "profile_signal"]


@dataclass(frozen=True, slots=True)
class SignalProfile:
    """Integrated loudness, level of the pauses, ratio of active speech to it, upper band edge."""

    loudness_lufs: float
    noise_floor_dbfs: float
    snr_db: float
    bandwidth_hz: float


def profile_signal(clip: AudioClip) -> SignalProfile | None:
    """The profile of a clip, or None for one that is silent or shorter than a loudness block (0.4 s)."""
    if clip.duration_s < BLOCK_S:
        return None
    loudness = integrated_loudness_lufs(clip.samples, clip.sample_rate_hz)
    noise = estimate_noise(clip.samples, clip.sample_rate_hz)
    bandwidth = effective_bandwidth_hz(clip.samples, clip.sample_rate_hz)
    if loudness is None or noise is None or bandwidth is None:
        return None
    return SignalProfile(loudness, noise.floor_dbfs, noise.snr_db, bandwidth)
