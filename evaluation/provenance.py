"""What a run was made with: versions, machine, command; so that a number can be traced to its makers."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone

import psutil

from evaluation.config import digest_of
from evaluation.manifest import prompts_origin
from evaluation.records import GenerationRecord, Utterance

__all__ = ["count_by_status", "describe_machine", "describe_prompts", "package_versions", "utc_now"]

PACKAGES = ("audiolm-audit", "torch", "torchaudio", "numpy", "scipy", "pandas", "pyarrow", "soundfile")


def utc_now() -> str:
    """This moment, ISO 8601, UTC, to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0).isoformat()


def package_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that shape numbers; those not installed are left out."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def describe_machine(device: str) -> dict[str, object]:
    """Processor, memory, system; no host name."""
    return {
        "device": device,
        "system": platform.system(),
        "release": platform.release(),
        "processor": platform.processor() or platform.machine(),
        "logical_cpus": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "python_implementation": sys.implementation.name,
    }


def describe_prompts(source: str, utterances: Sequence[Utterance]) -> dict[str, object]:
    """What went in: counts, origin, licences and a digest of the list."""
    identity = [
        [u.utterance_id, str(u.audio_path), u.transcript, u.speaker_id, dict(u.groups), u.origin, u.problem]
        for u in utterances
    ]
    return {
        "source": source,
        "origin": prompts_origin(utterances),
        "n_utterances": len(utterances),
        "n_speakers": len({u.speaker_id for u in utterances if u.speaker_id}),
        "n_without_speaker": sum(not u.speaker_id for u in utterances),
        "n_with_transcript": sum(u.transcript is not None for u in utterances),
        "n_problems": sum(bool(u.problem) for u in utterances),
        "licences": dict(sorted(Counter(u.licence or "unstated" for u in utterances).items())),
        "groups": sorted({name for u in utterances for name in u.groups}),
        "sha256": digest_of(identity),
    }


def count_by_status(records: Sequence[GenerationRecord]) -> dict[str, dict[str, int]]:
    """Items per role and status."""
    counts: dict[str, dict[str, int]] = {}
    for record in sorted(records, key=lambda record: (record.role, record.status)):
        role = counts.setdefault(record.role, {})
        role[record.status] = role.get(record.status, 0) + 1
    return counts
