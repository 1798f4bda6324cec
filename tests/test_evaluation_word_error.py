"""Word errors: counts against an alignment of our own, the normaliser, loops, silence and transcripts without words."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm.audio import AudioClip
from evaluation.asr.normalisers import plain, seed_tts
from evaluation.asr.text_alignment import AlignedWord, align_words, kept_words, longest_insertion
from evaluation.metrics import Noted, ScoreInput, Skipped
from evaluation.metrics.word_error import (
    METRIC,
    WordErrorScorer,
    count_errors,
    has_loop,
    normalise,
    seed_tts_error_rate,
    why_not,
)
from evaluation.records import GenerationRecord
from evaluation.score_inputs import precondition

RECORD = GenerationRecord(
    item_id="a", utterance_id="a", speaker_id="s", system="x", role="reference", seed=0, audio_path="a.wav",
    sample_rate_hz=16_000, duration_s=2.0, prompt_s=0.0, transcript="guten Tag", groups=MappingProxyType({}),
    origin="human", wall_s=0.0, status="ok", reason="", content_sha256="", config_sha256="",
)  # fmt: skip
WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd"]), max_size=8)


def edit_distance(left: list[str] | str, right: list[str] | str) -> int:
    """Levenshtein distance by the textbook recurrence."""
    row = list(range(len(right) + 1))
    for i, one in enumerate(left, start=1):
        previous, row[0] = row[0], i
        for j, other in enumerate(right, start=1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (one != other))
    return row[-1]


@settings(max_examples=50)
@given(reference=WORDS.filter(bool), heard=WORDS)
def test_counts_equal_an_own_alignment(reference: list[str], heard: list[str]) -> None:
    counts = count_errors(" ".join(reference), " ".join(heard))
    assert counts["errors"] == edit_distance(reference, heard)
    assert counts["errors"] == counts["substitutions"] + counts["deletions"] + counts["insertions"]
    assert counts["words"] == len(reference) == counts["hits"] + counts["substitutions"] + counts["deletions"]
    assert counts["char_errors"] == edit_distance(" ".join(reference), " ".join(heard))
    assert counts["chars"] == len(" ".join(reference))
    assert counts["silence"] == float(not heard)


@settings(max_examples=50)
@given(reference=WORDS.filter(bool), heard=WORDS.filter(bool))
def test_swapping_the_texts_swaps_the_excess_of_insertions(reference: list[str], heard: list[str]) -> None:
    forth, back = (count_errors(" ".join(a), " ".join(b)) for a, b in ((reference, heard), (heard, reference)))
    assert forth["errors"] == back["errors"]
    # Which of several best alignments is taken may differ; insertions less deletions is the difference of lengths.
    assert forth["insertions"] - forth["deletions"] == back["deletions"] - back["insertions"]


def test_swap_of_a_text_with_one_best_alignment_swaps_insertions_and_deletions() -> None:
    forth, back = count_errors("one two three", "one three"), count_errors("one three", "one two three")
    assert (forth["deletions"], forth["insertions"]) == (1.0, 0.0)
    assert (back["deletions"], back["insertions"]) == (0.0, 1.0)


def test_known_cases() -> None:
    assert count_errors("the cat sat", "the cat sat")["errors"] == 0
    assert count_errors("the cat sat", "")["deletions"] == 3
    more = count_errors("the cat", "the cat on the mat")
    assert (more["insertions"], more["words"]) == (3, 2)
    one = count_errors("abcd", "abxd")
    assert (one["char_errors"], one["chars"]) == (1, 4)
    with pytest.raises(ValueError, match="no words"):
        count_errors("  ", "a")


def test_the_normaliser_is_whispers() -> None:
    assert normalise("Mister O'Neil paid FIFTY dollars, um, for the colour!") == normalise(
        "mr. o'neil paid $50 for the color"
    )
    assert normalise("[laughter] ... ") == ""


def test_loops_are_four_repeats_of_up_to_four_words() -> None:
    assert has_loop("no no no no".split())
    assert has_loop("so it goes so it goes so it goes so it goes".split())
    assert not has_loop("no no no".split())
    assert not has_loop("a b c d e a b c d e a b c d e a b c d e".split())  # five words
    assert not has_loop([])


def scorer(texts: dict[float, str]) -> WordErrorScorer:
    """A scorer whose recogniser knows a clip by its first sample."""
    return WordErrorScorer(lambda clips: [texts[float(clip.samples[0])] for clip in clips])


def item(name: str, mark: float, transcript: str | None) -> ScoreInput:
    clip = AudioClip.from_array(np.full(16_000, mark, np.float32), 16_000)
    return ScoreInput(item_id=name, role="reference", clip=clip, transcript=transcript)


def test_a_batch_keeps_its_order_its_texts_and_its_reasons() -> None:
    score = scorer({0.25: "Hello World!", 0.5: "", 0.125: "unused"})
    outcomes = score([item("a", 0.25, "HELLO WORLD"), item("b", 0.125, "--- !"), item("c", 0.5, "gone again")])
    first, second, third = outcomes
    assert isinstance(first, Noted) and isinstance(third, Noted)
    assert first.values["errors"] == 0 and first.values["silence"] == 0
    assert first.texts["hypothesis"] == "hello world" and first.texts["heard"] == "Hello World!"
    assert isinstance(second, Skipped) and "no words" in second.reason
    assert third.values["deletions"] == 2 and third.values["silence"] == 1
    assert score.texts == {"a": "Hello World!", "c": ""}
    assert score([item("z", 0.125, None)]) == [Skipped("transcript has no words; give the text that was spoken")]
    assert score.texts == {}


@pytest.mark.parametrize("text", ["Привет мир", "今日はいい天気です", "مرحبا", "3.5 Приветствую"])
def test_a_text_in_other_letters_is_no_english_to_be_misheard(text: str) -> None:
    assert "not in Latin letters" in why_not(text)
    (outcome,) = scorer({0.25: "hello"})([item("a", 0.25, text)])
    assert isinstance(outcome, Skipped) and "English" in outcome.reason


@pytest.mark.parametrize("text", ["Hello", "Ça va, naïve café?", "25", "at 7:30 on May 3rd, 2021"])
def test_accents_and_numbers_are_words(text: str) -> None:
    assert why_not(text) == ""


@pytest.mark.parametrize(("language", "judged"), [("", True), ("en-GB", True), ("English", True), ("de", False)])
def test_a_language_that_the_manifest_names_decides(language: str, judged: bool) -> None:
    record = replace(RECORD, groups=MappingProxyType({"language": language} if language else {}))
    reason = precondition(METRIC.spec, record, None)
    assert (reason == "") is judged and (judged or "'de'" in reason)


@settings(max_examples=50)
@given(reference=WORDS.filter(bool), heard=WORDS)
def test_an_alignment_spells_both_texts(reference: list[str], heard: list[str]) -> None:
    steps = align_words(" ".join(reference), " ".join(heard))
    assert [step.reference for step in steps if step.reference] == reference
    assert [step.heard for step in steps if step.heard] == heard
    for step in steps:
        kinds = {"hit": step.reference == step.heard, "substitution": bool(step.reference and step.heard)}
        kinds |= {"deletion": not step.heard, "insertion": not step.reference}
        assert kinds[step.operation]
    assert sum(step.operation != "hit" for step in steps) == edit_distance(reference, heard)


def test_invented_words_are_a_burst_and_misheard_ones_are_not() -> None:
    said = "one two three"
    assert count_errors(said, "one two thank you for watching this three")["insertion_burst"] == 1
    assert count_errors(said, "one two thank you for watching three")["insertion_burst"] == 0  # four
    assert count_errors("a b c d e f g", "h i j k l m n")["insertion_burst"] == 0  # substitutions
    assert longest_insertion([]) == 0


def test_kept_words_are_counted_by_their_place() -> None:
    said = "the cat and the dog"
    recording, clip = align_words(said, "the cat or the dog"), align_words(said, "oh the dog and the dog")
    assert kept_words(recording, clip) == (3, 4)  # both "the" and "dog"; "cat" is lost, "and" never was heard
    assert kept_words(recording, recording) == (4, 4)
    assert kept_words(recording, [AlignedWord("deletion", word, "") for word in said.split()]) == (0, 4)
    with pytest.raises(ValueError, match="5 and 1 words"):
        kept_words(recording, align_words("cat", "cat"))


def test_seed_tts_arithmetic_has_its_quirks() -> None:
    assert seed_tts("Well-known  (\u201cfifty\u201d)   o'clock!") == "wellknown fifty  o'clock"
    assert seed_tts_error_rate("a well-known man", "a well known man") == pytest.approx(2 / 3)
    assert count_errors(plain("a well-known man"), plain("a well known man"))["errors"] == 0
    assert seed_tts_error_rate("fifty men", "50 men") == 0.5
    assert count_errors(normalise("fifty men"), normalise("50 men"))["errors"] == 0
    # The mean of two clips' rates is 0.5 where one word in five is wrong: short clips weigh as much as long ones.
    rates = [seed_tts_error_rate("no", "yes"), seed_tts_error_rate("one two three four", "one two three four")]
    assert sum(rates) / 2 == 0.5


def test_the_plain_normaliser_keeps_spelling_and_apostrophes() -> None:
    assert plain("Don\u2019t  COLOUR it \u2014 50% 'now'!") == "don't colour it 50 'now'"
    assert plain(" ' - ... ") == ""


def test_the_spec_has_every_count_and_no_role_without_a_reference_text() -> None:
    per_item = {measure.name for measure in METRIC.spec.measures if measure.aggregate != "ratio_of_sums"}
    assert per_item == set(count_errors("a", "b")) | {"errors_plain", "words_plain", "wer_seed_tts"}
    assert "continuation" not in METRIC.spec.roles
    for measure in METRIC.spec.measures:
        if measure.aggregate == "ratio_of_sums":
            assert {measure.numerator, measure.denominator} <= per_item
