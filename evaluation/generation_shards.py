"""One shard of utterances in every role: audio files, and a table that says what was made.

The table is written last and is the sign that the shard is done; a run that was killed finds it and goes on.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from audiolm.audio import AudioClip, write_audio
from evaluation.config import RENDERED_ROLES, RunConfig, digest_of
from evaluation.frames import generation_records, generation_table
from evaluation.protocols import Generator, RenderRequest
from evaluation.recordings import REFERENCE_RATE_HZ, Recording, read_recording
from evaluation.records import DEFAULT_ROLES, GenerationRecord, Utterance
from evaluation.rendering import item_seed, render_batch
from evaluation.run_folder import RunFolder, audio_name
from evaluation.table_seals import DamagedTableError, read_sealed, write_sealed
from evaluation.well_formed import well_formed

__all__ = ["ShardJob", "audio_provenance", "finished_shard", "keep_shard", "lost_records", "make_shard", "record_of"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardJob:
    """What every shard needs; ``generator`` is None where an outside system's files are judged."""

    run: RunFolder
    config: RunConfig
    generator: Generator | None
    system: str
    system_sha256: str

    @property
    def roles(self) -> tuple[str, ...]:
        if self.generator is None:
            return ("recorded",)
        wanted = self.config.roles or DEFAULT_ROLES
        return ("reference", *(role for role in RENDERED_ROLES if role in wanted and role in self.generator.roles))

    def config_sha256(self, role: str) -> str:
        return _config_sha256(self.config, self.system_sha256, role)


@lru_cache(maxsize=64)
def _config_sha256(config: RunConfig, system_sha256: str, role: str) -> str:
    """Digest of what shapes an item of a role; asked for once per item, so it is kept."""
    shaping: dict[str, object] = {"role": role, "max_seconds": config.max_seconds}
    if role not in ("reference", "recorded"):
        shaping |= {"system": system_sha256, "seed": config.seed, "prompt_s": config.prompt_s}
    if role in ("continuation", "unconditional"):
        shaping["seconds"] = config.seconds
    return digest_of(shaping)


def finished_shard(job: ShardJob, number: int, shard: Sequence[Utterance]) -> list[GenerationRecord] | None:
    """The shard's records where it was made before and its audio is unharmed, else None."""
    done = _table_path(job, number, shard)
    if not done.is_file():
        return None
    try:
        records = generation_records(done, read_sealed(done))
    except DamagedTableError as error:
        logger.warning("%s; the shard is made again", error)
        done.unlink()
        return None
    return records if all(_audio_is_intact(job.run.path, record) for record in records) else None


def make_shard(job: ShardJob, number: int, shard: Sequence[Utterance], *, keep: bool = True) -> list[GenerationRecord]:
    """Make a shard's audio and, with ``keep``, its table."""
    records = _records(job, shard)
    if keep:
        keep_shard(job, number, shard, records)
    return records


def keep_shard(job: ShardJob, number: int, shard: Sequence[Utterance], records: Sequence[GenerationRecord]) -> None:
    """Write the table that says the shard is done."""
    write_sealed(_table_path(job, number, shard), generation_table(records))


def lost_records(job: ShardJob, shard: Sequence[Utterance], reason: str) -> list[GenerationRecord]:
    """A failed record in every role for utterances that took down whoever worked on them."""
    lost = Recording(status="failed", reason=reason)
    return [record_of(job, utterance, lost, role) for role in job.roles for utterance in shard]


def _table_path(job: ShardJob, number: int, shard: Sequence[Utterance]) -> Path:
    key = digest_of([[role, job.config_sha256(role)] for role in job.roles] + [_identity(item) for item in shard])
    return job.run.work("generation") / f"shard-{number:06d}-{key[:16]}.parquet"


def _identity(utterance: Utterance) -> list[object]:
    return [
        utterance.utterance_id,
        str(utterance.audio_path),
        utterance.transcript,
        utterance.speaker_id,
        dict(utterance.groups),
        utterance.origin,
        utterance.problem,
    ]


def _audio_is_intact(folder: Path, record: GenerationRecord) -> bool:
    if not record.audio_path:
        return True
    path = folder / record.audio_path
    return path.is_file() and _file_sha256(path) == record.content_sha256


def _records(job: ShardJob, shard: Sequence[Utterance]) -> list[GenerationRecord]:
    recordings = [read_recording(utterance, job.config) for utterance in shard]
    pairs = list(zip(shard, recordings, strict=True))
    if job.generator is None:
        return [_written(job, utterance, recording, "recorded", recording.clip) for utterance, recording in pairs]
    records = []
    for utterance, recording in pairs:
        clip = recording.clip.at_rate(REFERENCE_RATE_HZ) if recording.clip is not None else None
        records.append(_written(job, utterance, recording, "reference", clip))
    for role in job.roles[1:]:
        records.extend(_rendered(job, job.generator, role, pairs))
    return records


def _rendered(
    job: ShardJob, generator: Generator, role: str, pairs: Sequence[tuple[Utterance, Recording]]
) -> list[GenerationRecord]:
    pairs = [(utterance, _for_role(recording, role, job.config)) for utterance, recording in pairs]
    requests, asked = [], []
    for utterance, recording in pairs:
        if recording.clip is not None:
            asked.append(utterance.utterance_id)
            requests.append(
                RenderRequest(
                    recording=recording.clip.at_rate(generator.sample_rate_hz),
                    prompt_s=recording.prompt_s,
                    seconds=job.config.seconds,
                    seed=item_seed(job.config.seed, utterance.utterance_id, role),
                    utterance_id=utterance.utterance_id,
                )
            )
    results = dict(zip(asked, render_batch(generator, role, requests), strict=True))
    records = []
    for utterance, recording in pairs:
        result = results.get(utterance.utterance_id)
        if result is None:
            records.append(record_of(job, utterance, recording, role))
        elif result.clip is None:
            failed = replace(recording, status="failed", reason=f"{generator.name}: {result.reason}")
            records.append(record_of(job, utterance, failed, role))
        else:
            wall_s = 0.0 if getattr(generator, "ready_made", False) else result.wall_s
            records.append(_written(job, utterance, recording, role, result.clip, wall_s))
    return records


def _for_role(recording: Recording, role: str, config: RunConfig) -> Recording:
    if role == "unconditional":
        return replace(recording, prompt_s=0.0, transcript=None, note="")
    if role != "continuation" or recording.clip is None:
        return recording
    if not recording.prompt_s:
        reason = f"lasts {recording.clip.duration_s:.2f} s; a prompt of {config.prompt_s:g} s needs 1 s more than that"
        return replace(recording, clip=None, status="skipped", reason=reason)
    return replace(recording, transcript=None)


def _written(
    job: ShardJob, utterance: Utterance, recording: Recording, role: str, clip: AudioClip | None, wall_s: float = 0.0
) -> GenerationRecord:
    record = record_of(job, utterance, recording, role)
    if clip is None:
        return record
    name = f"audio/{role}/{audio_name(utterance.utterance_id)}.wav"
    path = job.run.path / name
    provenance = audio_provenance(role, utterance.utterance_id)
    if job.generator is not None and role != "reference":
        provenance |= {"system": job.system, "system_sha256": job.system_sha256, "seed": record.seed}
    write_audio(path, clip, provenance)
    return replace(
        record,
        audio_path=name,
        sample_rate_hz=clip.sample_rate_hz,
        duration_s=clip.duration_s,
        wall_s=wall_s,
        content_sha256=_file_sha256(path),
    )


def audio_provenance(role: str, utterance_id: str) -> dict[str, object]:
    """What every audio file of a run says of itself."""
    return {"tool": "audiolm-audit", "role": role, "utterance_id": utterance_id}


def record_of(job: ShardJob, utterance: Utterance, recording: Recording, role: str) -> GenerationRecord:
    return GenerationRecord(
        item_id=f"{job.system}:{role}:{utterance.utterance_id}",
        utterance_id=utterance.utterance_id,
        speaker_id=utterance.speaker_id,
        system=job.system,
        role=role,
        seed=item_seed(job.config.seed, utterance.utterance_id, role),
        audio_path="",
        sample_rate_hz=0,
        duration_s=0.0,
        prompt_s=0.0 if role == "recorded" else recording.prompt_s,
        transcript=recording.transcript,
        groups=utterance.groups,
        origin=utterance.origin,
        wall_s=0.0,
        status=recording.status,
        reason=well_formed(recording.reason),
        content_sha256="",
        config_sha256=job.config_sha256(role),
        note=recording.note,
    )


def _file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
