"""How many words a speech recogniser gets wrong: intelligibility of speech whose text is known.

Alignment by jiwer on texts that Whisper's English normaliser has brought to one spelling (Radford et al. 2022,
appendix C); the same counts under the plain normaliser stand beside them, and the arithmetic of seed-tts-eval, quirks
included, under its own name. Counts are stored, so that corpus rates are ratios of sums. A clip in which the recogniser
hears nothing counts every word as deleted: a crash cannot improve a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from unicodedata import name

from evaluation.asr import Transcriber, find_recogniser
from evaluation.asr.normalisers import plain, seed_tts, whisper_english
from evaluation.asr.text_alignment import align_words, count_operations, longest_insertion
from evaluation.metrics import Measure, MetricSpec, Noted, Outcome, ScoreInput, Skipped

__all__ = ["METRIC", "WordErrorScorer", "count_errors", "has_loop", "normalise", "seed_tts_error_rate", "why_not"]

SOURCE = "Levenshtein alignment (jiwer) after Whisper's English normaliser (Radford et al. 2022, appendix C)"
PLAIN_SOURCE = "Levenshtein alignment (jiwer) of lower-case texts without punctuation"
SEED_TTS_SOURCE = "arithmetic of seed-tts-eval: mean of the clips' own rates, hyphens deleted, numbers as written"
LOOP_REPEATS = 4
"""A phrase of one to four words said this many times in a row is a loop; read speech hardly says one thrice."""
LOOP_MAX_WORDS = 4
INSERTION_BURST = 5
"""This many words in a row that nobody said are invented, not misheard."""

normalise = whisper_english


def _count(name: str, title: str, meaning: str, direction: str = "none", source: str = SOURCE) -> Measure:
    unit = "characters" if name.startswith("char") else "words"
    return Measure(
        name=name,
        title=title,
        unit=unit,
        direction=direction,
        meaning=meaning,
        source=source,
        low=0.0,
        aggregate="none",
    )


def _ratio(name: str, title: str, meaning: str, numerator: str, denominator: str, source: str = SOURCE) -> Measure:
    return Measure(
        name=name,
        title=title,
        unit="ratio",
        direction="lower",
        meaning=meaning,
        source=source,
        low=0.0,
        aggregate="ratio_of_sums",
        numerator=numerator,
        denominator=denominator,
    )


def _flag(name: str, title: str, meaning: str, source: str) -> Measure:
    return Measure(
        name=name, title=title, unit="share", direction="lower", meaning=meaning, source=source, low=0.0, high=1.0
    )


MEASURES = (
    _ratio("wer", "Word error rate", "errors per word of the transcript; may exceed 1", "errors", "words"),
    _ratio("cer", "Character error rate", "errors per character, spaces counted", "char_errors", "chars"),
    _ratio(
        "wer_plain",
        "Word error rate, plain normaliser",
        "as the word error rate, of texts that are only put in lower case without punctuation",
        "errors_plain",
        "words_plain",
        PLAIN_SOURCE,
    ),
    Measure(
        name="wer_seed_tts",
        title="Word error rate as seed-tts-eval counts it",
        unit="ratio",
        direction="lower",
        meaning="mean of the clips' own error rates, so short clips weigh as much as long ones; for comparison only",
        source=SEED_TTS_SOURCE,
        low=0.0,
    ),
    _count("errors", "Word errors", "substitutions, deletions and insertions together", "lower"),
    _count("substitutions", "Substitutions", "words heard as another word", "lower"),
    _count("deletions", "Deletions", "words of the transcript that were not heard", "lower"),
    _count("insertions", "Insertions", "words heard that are not in the transcript", "lower"),
    _count("hits", "Hits", "words heard as they were said", "higher"),
    _count("words", "Words", "words of the transcript"),
    _count("char_errors", "Character errors", "wrong characters of the best alignment", "lower"),
    _count("chars", "Characters", "characters of the transcript, spaces counted"),
    _count("errors_plain", "Word errors, plain normaliser", "errors of all three kinds", "lower", PLAIN_SOURCE),
    _count("words_plain", "Words, plain normaliser", "words of the transcript", "none", PLAIN_SOURCE),
    _flag("silence", "Nothing heard", "share of clips in which the recogniser heard no word", "recogniser output"),
    _flag(
        "loop",
        "Looping",
        "share of clips in which a phrase of one to four words comes four times in a row or more",
        "repeated n-grams in the recogniser's output, as generation models loop",
    ),
    _flag(
        "insertion_burst",
        "Invented words",
        "share of clips with five words or more in a row that the transcript does not have",
        "runs of insertions in the alignment, as recognisers and generation models hallucinate",
    ),
)

SPEC = MetricSpec(
    name="word_error",
    title="Word error rate",
    measures=MEASURES,
    roles=("reference", "codec", "acoustic", "recorded"),
    needs=frozenset({"transcript"}),
    min_duration_s=0.2,
    min_duration_source="shorter than any spoken word",
    version="2",
)


def has_loop(words: Sequence[str]) -> bool:
    """Whether a phrase of one to four words stands four times or more in a row."""
    for size in range(1, LOOP_MAX_WORDS + 1):
        run = 0
        for place in range(size, len(words)):
            run = run + 1 if words[place] == words[place - size] else 0
            if run >= size * (LOOP_REPEATS - 1):
                return True
    return False


def count_errors(transcript: str, heard: str) -> dict[str, float]:
    """Counts and flags of one clip from two texts under one normaliser.

    Raises:
        ValueError: a transcript without words.
    """
    import jiwer

    steps = align_words(transcript, heard)
    counts = count_operations(steps)
    chars = jiwer.process_characters(transcript, heard)
    wrong = counts["substitution"] + counts["deletion"] + counts["insertion"]
    return {
        "errors": float(wrong),
        "substitutions": float(counts["substitution"]),
        "deletions": float(counts["deletion"]),
        "insertions": float(counts["insertion"]),
        "hits": float(counts["hit"]),
        "words": float(len(steps) - counts["insertion"]),
        "char_errors": float(chars.substitutions + chars.deletions + chars.insertions),
        "chars": float(chars.hits + chars.substitutions + chars.deletions),
        "silence": float(not heard.split()),
        "loop": float(has_loop(heard.split())),
        "insertion_burst": float(longest_insertion(steps) >= INSERTION_BURST),
    }


def seed_tts_error_rate(transcript: str, heard: str) -> float:
    """Word error rate of one clip as seed-tts-eval computes it from the texts as they are written; may exceed 1."""
    import jiwer

    return float(jiwer.process_words(seed_tts(transcript), seed_tts(heard)).wer)


def why_not(transcript: str) -> str:
    """Why no word error can be had of a transcript; empty where it can."""
    if not normalise(transcript):
        return "transcript has no words; give the text that was spoken"
    letters = [character for character in transcript if character.isalpha()]
    latin = sum(name(character, "").startswith("LATIN") for character in letters)
    if 2 * latin < len(letters):
        return "transcript is not in Latin letters; recogniser and normaliser are English"
    return ""


def _all_measures(transcript: str, heard: str) -> dict[str, float]:
    beside = count_errors(plain(transcript), plain(heard))
    return {
        **count_errors(normalise(transcript), normalise(heard)),
        "errors_plain": beside["errors"],
        "words_plain": beside["words"],
        "wer_seed_tts": seed_tts_error_rate(transcript, heard),
    }


class WordErrorScorer:
    """The scoring function. ``texts`` maps the item ids of the last batch to what was heard, as it was heard."""

    def __init__(self, transcriber: Transcriber, recogniser: str = "") -> None:
        self._transcriber, self._recogniser = transcriber, recogniser
        self.texts: dict[str, str] = {}

    def __call__(self, inputs: Sequence[ScoreInput]) -> list[Outcome]:
        reasons = [why_not(item.transcript or "") for item in inputs]
        judged = [item for item, reason in zip(inputs, reasons, strict=True) if not reason]
        heard = dict(zip((id(item) for item in judged), self._transcriber([one.clip for one in judged]), strict=True))
        self.texts = {item.item_id: heard[id(item)] for item in judged}
        return [
            self._outcome(item.transcript or "", heard[id(item)]) if id(item) in heard else Skipped(reason)
            for item, reason in zip(inputs, reasons, strict=True)
        ]

    def _outcome(self, transcript: str, heard: str) -> Noted:
        texts = {
            "heard": heard,
            "reference": normalise(transcript),
            "hypothesis": normalise(heard),
            "recogniser": self._recogniser,
            "normaliser": "whisper",
        }
        return Noted(_all_measures(transcript, heard), texts)


class WordError:
    spec = SPEC

    def load(self, device: str) -> WordErrorScorer:
        recogniser = find_recogniser()
        return WordErrorScorer(recogniser.load(device), recogniser.name)

    def status(self) -> tuple[str, str]:
        return find_recogniser().status()

    def fingerprint(self) -> Mapping[str, str]:
        return {**find_recogniser().fingerprint(), "jiwer": _version("jiwer"), "normaliser": _version("openai-whisper")}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


METRIC = WordError()
