"""Word errors: alignment against an own dynamic programme, and hand-counted cases."""

from __future__ import annotations

import numpy as np

from evaluation.metrics.word_error import count_errors, has_loop, normalise, seed_tts_error_rate
from evaluation.oracles import Oracle

__all__ = ["ORACLES"]

WORDS = ("a", "b", "c", "d")


def _edit_distance(one: list[str], two: list[str]) -> int:
    row = list(range(len(two) + 1))
    for i, left in enumerate(one, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(two, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


def _largest_difference() -> float:
    """Over 200 random pairs of up to eight words."""
    generator = np.random.default_rng(1)
    worst = 0.0
    for _ in range(200):
        one, two = ([WORDS[int(w)] for w in generator.integers(4, size=generator.integers(1, 9))] for _ in range(2))
        found = count_errors(" ".join(one), " ".join(two))["errors"]
        worst = max(worst, abs(found - _edit_distance(one, two)))
    return worst


def _rate(reference: str, heard: str) -> float:
    counts = count_errors(normalise(reference), normalise(heard))
    return counts["errors"] / counts["words"]


ORACLES = (
    Oracle(scorer="word_error", name="largest difference to an own alignment, 200 random pairs", unit="words",
           expected=0.0, tolerance=0.0, ask=_largest_difference),
    Oracle(scorer="word_error", name="one wrong word of four", unit="ratio", expected=0.25, tolerance=0.0,
           ask=lambda: _rate("the cat sat down", "the bat sat down")),
    Oracle(scorer="word_error", name="three words too many for two", unit="ratio", expected=1.5, tolerance=0.0,
           ask=lambda: _rate("good morning", "good morning my dear friend")),
    Oracle(scorer="word_error", name="nothing heard of three words", unit="ratio", expected=1.0, tolerance=0.0,
           ask=lambda: _rate("one more time", "")),
    Oracle(scorer="word_error", name="hyphen deleted as seed-tts-eval does: two errors by two words", unit="ratio",
           expected=1.0, tolerance=0.0, ask=lambda: seed_tts_error_rate("well-known", "well known") / 2),
    Oracle(scorer="word_error", name="four repeats of a phrase are a loop", unit="flag", expected=1.0, tolerance=0.0,
           ask=lambda: float(has_loop("and so and so and so and so".split()))),
)  # fmt: skip
