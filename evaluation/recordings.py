"""One utterance's audio, read and judged usable or not, before any system sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiolm.audio import AudioClip, AudioError, probe
from evaluation.config import RunConfig
from evaluation.records import Utterance

__all__ = ["REFERENCE_RATE_HZ", "Recording", "read_recording"]

REFERENCE_RATE_HZ = 16_000
MIN_DURATION_S = 0.1
MIN_REST_S = 1.0
"""What must follow the prompt for a continuation to have a reference."""
CLIPPED_LEVEL, CLIPPED_SHARE = 0.999, 0.001
NARROW_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A read recording, or why there is none.

    ``clip`` is at the file's own rate and at most ``max_seconds`` long. ``prompt_s`` is 0 where the recording is too
    short to have a prompt and something after it. ``status`` is ``ok``, ``skipped`` or ``failed``.
    """

    clip: AudioClip | None = None
    prompt_s: float = 0.0
    transcript: str | None = None
    status: str = "ok"
    reason: str = ""
    note: str = ""


def read_recording(utterance: Utterance, config: RunConfig) -> Recording:
    """Read the first ``max_seconds`` of an utterance; never raises for a bad file."""
    if utterance.problem:
        return Recording(status="failed", reason=utterance.problem)
    where = f"row {utterance.row}: " if utterance.row is not None else ""
    try:
        info = probe(utterance.audio_path)
        clip = AudioClip.from_file(utterance.audio_path, duration_s=config.max_seconds)
    except (AudioError, OSError) as error:
        return Recording(status="failed", reason=f"{where}{error}")
    if clip.duration_s < MIN_DURATION_S:
        reason = f"lasts {clip.duration_s:.3f} s; use recordings of at least {MIN_DURATION_S} s"
        return Recording(status="skipped", reason=f"{where}{utterance.audio_path}: {reason}")
    if not np.any(clip.samples):
        reason = f"{where}{utterance.audio_path}: every sample is zero; use a recording with sound in it"
        return Recording(status="skipped", reason=reason)
    whole = info.duration_s <= config.max_seconds + 1e-3
    has_rest = clip.duration_s >= config.prompt_s + MIN_REST_S
    return Recording(
        clip=clip,
        prompt_s=config.prompt_s if has_rest else 0.0,
        transcript=utterance.transcript if whole else None,
        note="; ".join(_notes(clip, info.duration_s, whole, utterance.transcript is not None)),
    )


def _notes(clip: AudioClip, duration_s: float, whole: bool, has_transcript: bool) -> list[str]:
    notes = []
    if not whole:
        lost = ", so its transcript does not apply" if has_transcript else ""
        notes.append(f"first {clip.duration_s:.1f} s of {duration_s:.1f} s used{lost}")
    clipped = float(np.mean(np.abs(clip.samples) >= CLIPPED_LEVEL))
    if clipped > CLIPPED_SHARE:
        notes.append(f"{100 * clipped:.1f} % of samples at full scale (clipped)")
    if clip.sample_rate_hz < NARROW_RATE_HZ:
        notes.append(f"recorded at {clip.sample_rate_hz} Hz: nothing above {clip.sample_rate_hz // 2} Hz")
    return notes
