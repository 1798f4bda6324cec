"""Longest run of tokens that a clip shares with a training utterance: what a model copies, it copies in a row.

Immediate repeats are collapsed first, so that a long silence is no copy.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["TokenIndex", "collapse"]

BASE = np.uint64(0x9E3779B97F4A7C15)


def collapse(tokens: np.ndarray) -> np.ndarray:
    """``tokens`` ``[frame]`` without immediate repeats."""
    tokens = np.asarray(tokens, dtype=np.int64)
    return tokens[np.concatenate([[True], tokens[1:] != tokens[:-1]])] if len(tokens) else tokens


class TokenIndex:
    """Every run of every length of the training sequences, looked up by rolling hash and confirmed token by token."""

    def __init__(self, sequences: Sequence[np.ndarray]) -> None:
        parts = [collapse(sequence) for sequence in sequences]
        ends = [np.array([-1 - place], dtype=np.int64) for place in range(len(parts))]
        pieces = [piece for pair in zip(parts, ends, strict=True) for piece in pair]
        self._text = np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int64)
        self._prefix = _prefix(self._text)
        self._known: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def longest_run(self, tokens: np.ndarray) -> int:
        """Most tokens in a row, repeats collapsed, that also stand in a row in one training sequence."""
        asked = collapse(tokens)
        low, high = 0, min(len(asked), len(self._text))
        while low < high:
            middle = (low + high + 1) // 2
            if self._shares(asked, middle):
                low = middle
            else:
                high = middle - 1
        return low

    def _shares(self, asked: np.ndarray, length: int) -> bool:
        if length not in self._known:
            hashes = _hashes(self._prefix, length)
            order = np.argsort(hashes, kind="stable")
            self._known[length] = (hashes[order], order)
        hashes, order = self._known[length]
        wanted = _hashes(_prefix(asked), length)
        places = np.searchsorted(hashes, wanted)
        found = np.flatnonzero((places < len(hashes)) & (hashes[np.minimum(places, len(hashes) - 1)] == wanted))
        return any(
            np.array_equal(self._text[order[places[i]] : order[places[i]] + length], asked[i : i + length])
            for i in found
        )


def _prefix(tokens: np.ndarray) -> np.ndarray:
    """Rolling sums ``h[i + 1] = h[i] * base + token`` modulo 2^64, ``[token + 1]``."""
    found = np.zeros(len(tokens) + 1, dtype=np.uint64)
    mixed = (tokens.astype(np.uint64) + np.uint64(1)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(31)
    total, base, mask = 0, int(BASE), (1 << 64) - 1
    for place, value in enumerate(mixed.tolist()):
        total = (total * base + value) & mask
        found[place + 1] = total
    return found


def _hashes(prefix: np.ndarray, length: int) -> np.ndarray:
    power = np.uint64(pow(int(BASE), length, 1 << 64))
    with np.errstate(over="ignore"):
        return prefix[length:] - prefix[: len(prefix) - length] * power
