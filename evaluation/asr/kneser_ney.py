"""Trigram language model with interpolated modified Kneser-Ney smoothing, pruned by count, as ARPA text.

Source: Chen and Goodman 1998, section 3 (modified Kneser-Ney); the ARPA back-off weights are made anew after pruning,
so that every history still sums to 1.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Trigrams", "arpa_lines", "count_trigrams"]

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
SMALLEST = 1e-6
"""Probability mass left to back off with, at least."""

Gram = tuple[str, ...]


@dataclass(slots=True)
class Trigrams:
    """Raw counts of bigrams and trigrams over a vocabulary; words outside it count as ``<unk>``."""

    vocabulary: frozenset[str]
    bigrams: Counter[Gram] = field(default_factory=Counter)
    trigrams: Counter[Gram] = field(default_factory=Counter)


def count_trigrams(sentences: Iterable[Sequence[str]], vocabulary: Collection[str]) -> Trigrams:
    """Count the sentences' bigrams and trigrams, start and end included."""
    counts = Trigrams(frozenset(vocabulary))
    for words in sentences:
        padded = [START, *(word if word in counts.vocabulary else UNKNOWN for word in words), END]
        counts.bigrams.update(zip(padded, padded[1:], strict=False))
        counts.trigrams.update(zip(padded, padded[1:], padded[2:], strict=False))
    return counts


class _Level:
    """Probabilities of one order given those of the order below: discounted shares plus the mass that is left."""

    def __init__(self, counts: Mapping[Gram, int]) -> None:
        self._counts, self._discounts = counts, _discounts(counts.values())
        self._total: dict[Gram, int] = defaultdict(int)
        self._left: dict[Gram, float] = defaultdict(float)
        for gram, count in counts.items():
            self._total[gram[:-1]] += count
            self._left[gram[:-1]] += self._discount(count)

    def probability(self, gram: Gram, below: float) -> float:
        total = self._total.get(gram[:-1], 0)
        if not total:
            return below
        count = self._counts.get(gram, 0)
        return (count - self._discount(count) + self._left[gram[:-1]] * below) / total

    def _discount(self, count: int) -> float:
        return self._discounts[min(count, 3)]


def _discounts(counts: Iterable[int]) -> tuple[float, ...]:
    """What is taken off counts of 0, 1, 2, and 3 or more (Chen and Goodman, equation 26)."""
    seen = Counter(counts)
    ones = [seen[number] or 1 for number in range(1, 5)]
    ratio = ones[0] / (ones[0] + 2 * ones[1])
    return (0.0, *(max(0.0, min(k, k - (k + 1) * ratio * ones[k] / ones[k - 1])) for k in (1, 2, 3)))


class _Model:
    """Interpolated probabilities; the lower orders count in how many contexts a gram occurs, not how often."""

    def __init__(self, counts: Trigrams) -> None:
        contexts: Counter[Gram] = Counter(gram[1:] for gram in counts.trigrams)
        contexts.update({gram: count for gram, count in counts.bigrams.items() if gram[0] == START})
        followed: Counter[Gram] = Counter(gram[1:] for gram in counts.bigrams)
        self._levels = tuple(_Level(level) for level in (followed, contexts, counts.trigrams))
        self._uniform = 1.0 / (len(counts.vocabulary) + 2)

    def probability(self, gram: Gram) -> float:
        value = self._uniform
        for order, level in enumerate(self._levels[: len(gram)], start=1):
            value = level.probability(gram[-order:], value)
        return value


def arpa_lines(counts: Trigrams, *, min_bigram: int = 1, min_trigram: int = 1) -> Iterator[str]:
    """The model as lines of an ARPA file, without grams seen less often than asked for and those with ``<unk>``.

    Unigrams are never pruned, nor the bigrams that a kept trigram starts with.
    """
    model = _Model(counts)
    trigrams = {g for g, n in counts.trigrams.items() if n >= min_trigram and UNKNOWN not in g}
    bigrams = {g for g, n in counts.bigrams.items() if n >= min_bigram and UNKNOWN not in g}
    bigrams |= {gram[:2] for gram in trigrams}
    unigrams = [(START,), (END,), (UNKNOWN,), *((word,) for word in sorted(counts.vocabulary))]
    known = {gram: model.probability(gram) for gram in (*unigrams, *bigrams, *trigrams)}
    weights = _back_off_weights(known)
    yield "\\data\\"
    for order, grams in enumerate((unigrams, bigrams, trigrams), start=1):
        yield f"ngram {order}={len(grams)}"
    for order, grams in enumerate((unigrams, sorted(bigrams), sorted(trigrams)), start=1):
        yield f"\n\\{order}-grams:"
        for gram in grams:
            value = -99.0 if gram == (START,) else math.log10(known[gram])
            weight = f"\t{math.log10(weights.get(gram, 1.0)):.4f}" if order < 3 and gram[-1] != END else ""
            yield f"{value:.4f}\t{' '.join(gram)}{weight}"
    yield "\n\\end\\"


def _back_off_weights(known: Mapping[Gram, float]) -> dict[Gram, float]:
    """Of each history: the mass that its kept grams leave, over the mass that the shorter history gives to the rest."""
    weights: dict[Gram, float] = {}
    for order in (2, 3):
        given: dict[Gram, float] = defaultdict(float)
        shorter: dict[Gram, float] = defaultdict(float)
        for gram in (gram for gram in known if len(gram) == order):
            given[gram[:-1]] += known[gram]
            shorter[gram[:-1]] += _backed_off(gram[1:], known, weights)
        for history, mass in given.items():
            weights[history] = max(1.0 - mass, SMALLEST) / max(1.0 - shorter[history], SMALLEST)
    return weights


def _backed_off(gram: Gram, known: Mapping[Gram, float], weights: Mapping[Gram, float]) -> float:
    if gram in known:
        return known[gram]
    return weights.get(gram[:-1], 1.0) * known[gram[1:]]
