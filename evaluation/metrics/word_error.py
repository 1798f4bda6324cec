"""How many words a speech recogniser gets wrong: intelligibility of speech whose text is known.

Alignment by jiwer on texts that Whisper's English normaliser has brought to one spelling (Radford et al. 2022,
appendix C). Counts are stored, so that corpus rates are ratios of sums. A clip in which the recogniser hears nothing
counts every word as deleted: a crash cannot improve a score.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version

from evaluation.asr import Transcriber, find_recogniser
from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput, Skipped

__all__ = ["METRIC", "WordErrorScorer", "count_errors", "has_loop", "normalise"]

SOURCE = "Levenshtein alignment (jiwer) after Whisper's English normaliser (Radford et al. 2022, appendix C)"
LOOP_REPEATS = 4
"""A phrase of one to four words said this many times in a row is a loop; read speech hardly says one thrice."""
LOOP_MAX_WORDS = 4


def _count(name: str, title: str, meaning: str, direction: str = "none") -> Measure:
    unit = "characters" if name.startswith("char") else "words"
    return Measure(
        name=name,
        title=title,
        unit=unit,
        direction=direction,
        meaning=meaning,
        source=SOURCE,
        low=0.0,
        aggregate="none",
    )


def _ratio(name: str, title: str, meaning: str, numerator: str, denominator: str) -> Measure:
    return Measure(
        name=name,
        title=title,
        unit="ratio",
        direction="lower",
        meaning=meaning,
        source=SOURCE,
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
    _count("errors", "Word errors", "substitutions, deletions and insertions together", "lower"),
    _count("substitutions", "Substitutions", "words heard as another word", "lower"),
    _count("deletions", "Deletions", "words of the transcript that were not heard", "lower"),
    _count("insertions", "Insertions", "words heard that are not in the transcript", "lower"),
    _count("hits", "Hits", "words heard as they were said", "higher"),
    _count("words", "Words", "words of the transcript"),
    _count("char_errors", "Character errors", "wrong characters of the best alignment", "lower"),
    _count("chars", "Characters", "characters of the transcript, spaces counted"),
    _flag("silence", "Nothing heard", "share of clips in which the recogniser heard no word", "recogniser output"),
    _flag(
        "loop",
        "Looping",
        "share of clips in which a phrase of one to four words comes four times in a row or more",
        "repeated n-grams in the recogniser's output, as generation models loop",
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
    version="1",
)


@lru_cache(maxsize=1)
def _normaliser():
    from whisper.normalizers import EnglishTextNormalizer

    return EnglishTextNormalizer()


def normalise(text: str) -> str:
    """Text in the one spelling that is compared: lower case, no punctuation, digits for numbers, American spelling.

    Marks that the normaliser leaves standing alone (the full stop of ``...``) are no words and go.
    """
    words = str(_normaliser()(text)).split()
    return " ".join(word for word in words if any(letter.isalnum() for letter in word))


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
    """The item measures of one clip from two normalised texts.

    Raises:
        ValueError: a transcript without words.
    """
    if not transcript.split():
        raise ValueError("transcript has no words; give the text that was spoken")
    import jiwer

    words = jiwer.process_words(transcript, heard)
    chars = jiwer.process_characters(transcript, heard)
    return {
        "errors": float(words.substitutions + words.deletions + words.insertions),
        "substitutions": float(words.substitutions),
        "deletions": float(words.deletions),
        "insertions": float(words.insertions),
        "hits": float(words.hits),
        "words": float(words.hits + words.substitutions + words.deletions),
        "char_errors": float(chars.substitutions + chars.deletions + chars.insertions),
        "chars": float(chars.hits + chars.substitutions + chars.deletions),
        "silence": float(not heard.split()),
        "loop": float(has_loop(heard.split())),
    }


class WordErrorScorer:
    """The scoring function. ``texts`` maps the item ids of the last batch to what was heard, as it was heard."""

    def __init__(self, transcriber: Transcriber) -> None:
        self._transcriber = transcriber
        self.texts: dict[str, str] = {}

    def __call__(self, inputs: Sequence[ScoreInput]) -> list[Outcome]:
        transcripts = [normalise(item.transcript or "") for item in inputs]
        judged = [item for item, transcript in zip(inputs, transcripts, strict=True) if transcript]
        heard = dict(zip((id(item) for item in judged), self._transcriber([one.clip for one in judged]), strict=True))
        self.texts = {item.item_id: heard[id(item)] for item in judged}
        return [
            count_errors(transcript, normalise(heard[id(item)]))
            if transcript
            else Skipped("transcript has no words; give the text that was spoken")
            for item, transcript in zip(inputs, transcripts, strict=True)
        ]


class WordError:
    spec = SPEC

    def load(self, device: str) -> WordErrorScorer:
        return WordErrorScorer(find_recogniser().load(device))

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
