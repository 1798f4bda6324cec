"""The floor of pair measures: each prompt against a continuation of somebody else's prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from evaluation.records import GenerationRecord

__all__ = ["other_speaker", "shuffled_records"]


def other_speaker(speakers: Sequence[str]) -> list[int | None]:
    """For each position another one with a different speaker, or None where there is only one speaker.

    Positions are put in order of speaker and turned by the size of the largest speaker: a permutation whenever one
    without equal speakers exists; else the nearest following position of another speaker.
    """
    if len(set(speakers)) < 2:
        return [None] * len(speakers)
    order = sorted(range(len(speakers)), key=lambda index: (speakers[index], index))
    turn = max(Counter(speakers).values())
    partners: list[int | None] = [None] * len(speakers)
    for place, index in enumerate(order):
        target = place + turn
        while speakers[order[target % len(order)]] == speakers[index]:
            target += 1
        partners[index] = order[target % len(order)]
    return partners


def shuffled_records(records: Sequence[GenerationRecord]) -> list[GenerationRecord]:
    """One record of role ``shuffled`` per continuation; its audio is the other's file."""
    continuations = sorted(
        (record for record in records if record.role == "continuation"), key=lambda record: record.utterance_id
    )
    usable = [record for record in continuations if record.status == "ok"]
    partners = dict(
        zip((record.item_id for record in usable), other_speaker([record.speaker_id for record in usable]), strict=True)
    )
    shuffled = []
    for record in continuations:
        own = replace(record, item_id=f"{record.system}:shuffled:{record.utterance_id}", role="shuffled", wall_s=0.0)
        index = partners.get(record.item_id)
        if record.status == "ok" and index is None:
            reason = "all continuations are of one speaker; use prompts of two or more known speakers"
            own = replace(
                own, status="skipped", reason=reason, audio_path="", content_sha256="", duration_s=0.0, sample_rate_hz=0
            )
        elif index is not None:
            other = usable[index]
            own = replace(
                own,
                audio_path=other.audio_path,
                content_sha256=other.content_sha256,
                duration_s=other.duration_s,
                sample_rate_hz=other.sample_rate_hz,
                seed=other.seed,
                note=f"continuation of {other.utterance_id}",
            )
        shuffled.append(own)
    return shuffled
