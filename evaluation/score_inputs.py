"""What a scorer gets of an item: clips cut and resampled as its spec says, or the reason why it cannot be scored."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from audiolm.audio import AudioClip
from evaluation.config import digest_of
from evaluation.metrics import MetricSpec, ScoreInput
from evaluation.records import CODEC_ROLES, GenerationRecord

__all__ = ["ClipStore", "content_key", "precondition", "references_of", "score_input"]

ROLES_WITH_PROMPT = ("reference", *CODEC_ROLES, "acoustic")
"""Roles whose clip holds the prompt itself; it is cut off for scorers that compare with the prompt."""


class ClipStore:
    """Clips of one shard: each file is decoded once, and resampled once per rate."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clips: dict[tuple[str, int], AudioClip] = {}
        self._prompts: dict[tuple[str, int, float], AudioClip] = {}

    def put(self, audio_path: str, clip: AudioClip) -> None:
        """Hold a clip that was read already."""
        self._clips[audio_path, 0] = clip

    def clip(self, audio_path: str, sample_rate_hz: int) -> AudioClip:
        """The file's clip at a rate; 0 means its own."""
        key = (audio_path, sample_rate_hz)
        if key not in self._clips:
            if sample_rate_hz == 0:
                self._clips[key] = AudioClip.from_file(self._folder / audio_path)
            else:
                self._clips[key] = self.clip(audio_path, 0).at_rate(sample_rate_hz)
        return self._clips[key]

    def prompt(self, audio_path: str, sample_rate_hz: int, prompt_s: float) -> AudioClip:
        """The first ``prompt_s`` of a file: one and the same object for all who ask, so that its values are kept."""
        key = (audio_path, sample_rate_hz, prompt_s)
        if key not in self._prompts:
            self._prompts[key] = self.clip(audio_path, sample_rate_hz).cut(0.0, prompt_s)
        return self._prompts[key]


def precondition(spec: MetricSpec, record: GenerationRecord, reference: GenerationRecord | None) -> str:
    """Why this item cannot be scored by this scorer; empty where it can."""
    if "transcript" in spec.needs and record.transcript is None:
        return f"needs a transcript and the item has none{f' ({record.note})' if record.note else ''}"
    language = record.groups.get("language", "")
    if "transcript" in spec.needs and language and not language.lower().startswith("en"):
        return f"the manifest says that the language is {language!r}; recogniser and normaliser are English"
    if "recording" in spec.needs and (reference is None or not reference.audio_path):
        return "needs the recording itself, and that of this utterance could not be used"
    if "prompt" in spec.needs:
        if record.role == "recorded":
            return "needs a prompt and recorded files have none"
        if not record.prompt_s:
            return "needs a prompt and the recording is too short to be split into a prompt and a rest"
        if reference is None or not reference.audio_path:
            return "needs a prompt and the recording of this utterance could not be used"
    duration_s = record.duration_s - _cut_s(spec, record)
    if duration_s < spec.min_duration_s:
        source = f" ({spec.min_duration_source})" if spec.min_duration_source else ""
        return f"clip lasts {duration_s:.2f} s, at least {spec.min_duration_s:g} s are needed{source}"
    return ""


def content_key(spec: MetricSpec, version: str, record: GenerationRecord, reference: GenerationRecord | None) -> str:
    """Digest of everything that decides an item's values; two items with one key have equal values."""
    parts: dict[str, object] = {
        "scorer": spec.name,
        "version": version,
        "audio": record.content_sha256,
        "role": record.role,
        "cut_s": _cut_s(spec, record),
    }
    if "transcript" in spec.needs:
        parts["transcript"] = record.transcript
    if "prompt" in spec.needs and reference is not None:
        parts["prompt"] = [reference.content_sha256, record.prompt_s]
    if "recording" in spec.needs and reference is not None:
        parts["recording"] = reference.content_sha256
    return digest_of(parts)


def score_input(
    spec: MetricSpec, record: GenerationRecord, reference: GenerationRecord | None, clips: ClipStore
) -> ScoreInput:
    """The item at the scorer's rate; call it only where :func:`precondition` has nothing against it."""
    clip = clips.clip(record.audio_path, spec.sample_rate_hz)
    cut_s = _cut_s(spec, record)
    prompt = recording = None
    if reference is not None and spec.needs & {"prompt", "recording"}:
        whole = clips.clip(reference.audio_path, spec.sample_rate_hz)
        prompt = None
        if "prompt" in spec.needs:
            prompt = clips.prompt(reference.audio_path, spec.sample_rate_hz, record.prompt_s)
        recording = (whole.cut(cut_s) if cut_s else whole) if "recording" in spec.needs else None
    return ScoreInput(
        item_id=record.item_id,
        role=record.role,
        clip=clip.cut(cut_s) if cut_s else clip,
        prompt=prompt,
        recording=recording,
        transcript=record.transcript if "transcript" in spec.needs else None,
    )


def references_of(records: Iterable[GenerationRecord]) -> dict[str, GenerationRecord]:
    """The ``reference`` record of every utterance."""
    return {record.utterance_id: record for record in records if record.role == "reference"}


def _cut_s(spec: MetricSpec, record: GenerationRecord) -> float:
    return record.prompt_s if "prompt" in spec.needs and record.role in ROLES_WITH_PROMPT else 0.0
