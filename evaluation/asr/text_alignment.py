"""What became of each word of a transcript: the alignment behind a word error rate, and what it says of an utterance.

Alignment by jiwer (Levenshtein distance; of several best alignments, the one that its library takes).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["AlignedWord", "align_words", "count_operations", "kept_words", "longest_insertion"]

OPERATIONS: tuple[str, ...] = ("hit", "substitution", "deletion", "insertion")


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """One step of an alignment: ``operation``, the transcript's word (empty: insertion), the heard one (empty:
    deletion)."""

    operation: str
    reference: str
    heard: str


def align_words(reference: str, heard: str) -> list[AlignedWord]:
    """The best alignment of two texts of words separated by single spaces.

    Raises:
        ValueError: a reference without words.
    """
    if not reference.split():
        raise ValueError("transcript has no words; give the text that was spoken")
    import jiwer

    output = jiwer.process_words(reference, heard)
    said, found = output.references[0], output.hypotheses[0]
    steps: list[AlignedWord] = []
    for chunk in output.alignments[0]:
        left = said[chunk.ref_start_idx : chunk.ref_end_idx]
        right = found[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "insert":
            steps += [AlignedWord("insertion", "", word) for word in right]
        elif chunk.type == "delete":
            steps += [AlignedWord("deletion", word, "") for word in left]
        else:
            name = "hit" if chunk.type == "equal" else "substitution"
            steps += [AlignedWord(name, one, other) for one, other in zip(left, right, strict=True)]
    return steps


def count_operations(steps: Sequence[AlignedWord]) -> dict[str, int]:
    """How often each operation occurs, by its name."""
    counts = dict.fromkeys(OPERATIONS, 0)
    for step in steps:
        counts[step.operation] += 1
    return counts


def longest_insertion(steps: Sequence[AlignedWord]) -> int:
    """Most words heard in a row that the transcript does not have."""
    longest = run = 0
    for step in steps:
        run = run + 1 if step.operation == "insertion" else 0
        longest = max(longest, run)
    return longest


def kept_words(recording: Sequence[AlignedWord], clip: Sequence[AlignedWord]) -> tuple[int, int]:
    """``(kept, heard)``: of the words that were right on the recording, how many are right on the clip as well.

    Both alignments are of one transcript; words are told apart by their place in it.

    Raises:
        ValueError: the alignments are of transcripts of another length.
    """
    before, after = _right(recording), _right(clip)
    if len(before) != len(after):
        raise ValueError(f"transcripts of {len(before)} and {len(after)} words cannot be compared; score both again")
    kept = sum(one and other for one, other in zip(before, after, strict=True))
    return kept, sum(before)


def _right(steps: Sequence[AlignedWord]) -> list[bool]:
    return [step.operation == "hit" for step in steps if step.operation != "insertion"]
