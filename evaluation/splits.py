"""Which utterances go where: speaker-disjoint splits, and limits that keep many speakers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.records import Utterance

__all__ = ["limit_round_robin", "speaker_disjoint_split"]


def speaker_disjoint_split(
    utterances: Sequence[Utterance], shares: Mapping[str, float], seed: int
) -> dict[str, list[Utterance]]:
    """Give whole speakers to named parts, so that no speaker is in two of them.

    ``shares`` maps a part's name to its share of the utterances, summing to 1. Speakers come in an order drawn
    from ``seed`` and each goes to the part that is furthest behind its share. Unknown speakers (empty id) are
    treated as one. Order inside a part is that of ``utterances``.

    Raises:
        ValueError: shares that are not positive or do not sum to 1, or fewer speakers than parts.
    """
    if not shares or min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"shares are {dict(shares)}; give positive shares that sum to 1")
    by_speaker = _by_speaker(utterances)
    if len(by_speaker) < len(shares):
        raise ValueError(
            f"{len(by_speaker)} speakers cannot fill {len(shares)} speaker-disjoint parts; use fewer parts"
        )
    speakers = sorted(by_speaker)
    order = np.random.default_rng(seed).permutation(len(speakers))
    counts = dict.fromkeys(shares, 0)
    part_of: dict[str, str] = {}
    for position, index in enumerate(order):
        speaker = speakers[int(index)]
        left = len(speakers) - position
        empty = [name for name, count in counts.items() if count == 0]
        candidates = empty if len(empty) >= left else list(shares)
        part = max(candidates, key=lambda name: shares[name] * len(utterances) - counts[name])
        part_of[speaker] = part
        counts[part] += len(by_speaker[speaker])
    parts: dict[str, list[Utterance]] = {name: [] for name in shares}
    for utterance in utterances:
        parts[part_of[utterance.speaker_id]].append(utterance)
    return parts


def limit_round_robin(utterances: Sequence[Utterance], limit: int) -> list[Utterance]:
    """The first ``limit`` utterances when speakers take turns in order of appearance; original order is kept."""
    rank_in_speaker: dict[str, int] = {}
    keyed = []
    for position, utterance in enumerate(utterances):
        turn = rank_in_speaker.get(utterance.speaker_id, 0)
        rank_in_speaker[utterance.speaker_id] = turn + 1
        keyed.append((turn, position))
    kept = sorted(position for _, position in sorted(keyed)[:limit])
    return [utterances[position] for position in kept]


def _by_speaker(utterances: Sequence[Utterance]) -> dict[str, list[Utterance]]:
    groups: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        groups.setdefault(utterance.speaker_id, []).append(utterance)
    return groups
