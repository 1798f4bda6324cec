"""The recogniser's language model: probabilities sum to one, known cases, what is left out, the shipped file."""

from __future__ import annotations

import gzip
import itertools
import random
from pathlib import Path

import pytest

from evaluation.asr import find_recogniser
from evaluation.asr.build_language_model import sentences
from evaluation.asr.kneser_ney import arpa_lines, count_trigrams
from evaluation.asr.pocketsphinx import DOMAINS, PRETRAINED


def arpa(lines) -> tuple[dict[tuple[str, ...], float], dict[tuple[str, ...], float]]:
    """Probabilities and back-off weights of an ARPA text, read by its own definition."""
    values, weights = {}, {}
    for line in lines:
        fields = line.strip().split("\t")
        if len(fields) > 1:
            gram = tuple(fields[1].split())
            values[gram] = 10 ** float(fields[0])
            weights[gram] = 10 ** float(fields[2]) if len(fields) > 2 else 1.0
    return values, weights


def probability(gram: tuple[str, ...], values, weights) -> float:
    if gram in values:
        return values[gram]
    return weights.get(gram[:-1], 1.0) * probability(gram[1:], values, weights)


def text(seed: int, words: str, count: int) -> list[list[str]]:
    generator = random.Random(seed)
    return [generator.choices(words, weights=range(1, len(words) + 1), k=generator.randint(1, 6)) for _ in range(count)]


@pytest.mark.parametrize("pruned", (1, 2, 3))
def test_every_history_sums_to_one(pruned: int) -> None:
    counts = count_trigrams(text(1, "abcdef", 80), "abcde")
    values, weights = arpa(arpa_lines(counts, min_bigram=pruned, min_trigram=pruned))
    heard = [*"abcde", "</s>", "<unk>"]
    histories = [(), *((word,) for word in ("<s>", *"abcde")), *itertools.product(("<s>", *"abcde"), "abcde")]
    for history in histories:
        total = sum(probability((*history, word), values, weights) for word in heard)
        assert total == pytest.approx(1.0, abs=2e-3), history  # four decimals of a logarithm


def test_what_was_said_is_likelier_than_what_was_not() -> None:
    counts = count_trigrams([["a", "b", "c"], ["a", "b", "d"], ["a", "b", "c"], ["b", "a"]], "abcd")
    values, weights = arpa(arpa_lines(counts))
    after_ab = {word: probability(("a", "b", word), values, weights) for word in "abcd"}
    assert after_ab["c"] > after_ab["d"] > after_ab["a"] > 0


def test_a_word_that_follows_one_word_only_is_unlikely_by_itself() -> None:
    counts = count_trigrams([["c", "b"]] * 4 + [["a"], ["d", "a"], ["c", "a"]], "abcd")
    values, _ = arpa(arpa_lines(counts))
    assert values[("a",)] > values[("b",)]  # though "b" is said four times and "a" three


def test_pruning_leaves_fewer_grams_and_all_words() -> None:
    counts = count_trigrams(text(2, "abcdef", 60), "abcdef")
    whole, _ = arpa(arpa_lines(counts))
    pruned, _ = arpa(arpa_lines(counts, min_bigram=3, min_trigram=3))
    assert len(pruned) < len(whole) and {(word,) for word in "abcdef"} <= set(pruned)
    assert all(gram[:2] in pruned for gram in pruned if len(gram) == 3)


def test_texts_of_held_out_speakers_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "manifest.csv").write_text(
        "speaker,split\nlibrispeech-7,dev\nlibrispeech-8,train\nlibrispeech-9,test\n"
    )
    with gzip.open(tmp_path / "text/librispeech_train-clean-100.tsv.gz", "wt") as stream:
        stream.write("7-1-0\tHELD OUT\n8-1-0\tTHIS STAYS\n9-1-0\tHELD OUT\n77-1-0\tTHIS TOO\n")
    assert list(sentences(tmp_path)) == [["this", "stays"], ["this", "too"]]


def test_the_shipped_model_is_a_recogniser_of_its_own() -> None:
    own, plain = find_recogniser("pocketsphinx:librispeech"), find_recogniser("pocketsphinx")
    assert own.status()[0] == "ready" and own.name == "pocketsphinx:librispeech"
    assert own.fingerprint()["asr_language_model"].startswith("librispeech.lm.bin.xz ")
    assert set(own.fingerprint()) - set(plain.fingerprint()) == {"asr_language_model"}
    assert all((PRETRAINED / name).stat().st_size < 3_000_000 for name in DOMAINS.values())
    for name in ("pocketsphinx:", "pocketsphinx:medical"):
        with pytest.raises(ValueError, match="AUDIOLM_ASR"):
            find_recogniser(name)
