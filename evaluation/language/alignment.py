"""When each phone of a known transcript is spoken: forced alignment with PocketSphinx's embedded US English model.

Words that its dictionary lacks get a rough pronunciation letter by letter, so that the words around them are still
found; the phones of such a word are marked and serve for nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from audiolm.audio import AudioClip
from evaluation.progress import Progress, silent
from evaluation.records import Utterance

__all__ = ["SILENCE", "Alignments", "Phone", "PhoneAligner", "align_utterances"]

SAMPLE_RATE_HZ = 16_000
FRAME_S = 0.01
SILENCE = "SIL"
WORD = re.compile(r"[a-z]+(?:'[a-z]+)*'?")
SETTINGS: Mapping[str, str | float | bool | None] = {"cmn": "batch", "lm": None, "silprob": 0.1, "bestpath": False}
"""Beside these, the library's defaults. ``silprob`` 0.1 instead of 0.005: pauses between words are found as such and
not added to the phone before them. No best-path search: it gives words of one frame, in which no phone can be found."""
GRAPHEMES: Mapping[str, str] = {
    "tch": "CH", "sch": "SH", "igh": "AY", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "ck": "K", "qu": "K W",
    "ng": "NG", "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW", "ai": "EY", "ay": "EY", "oi": "OY",
    "oy": "OY", "au": "AO", "aw": "AO", "er": "ER", "ar": "AA R", "or": "AO R", "ll": "L", "ss": "S", "tt": "T",
    "pp": "P", "ff": "F", "nn": "N", "mm": "M", "rr": "R", "gg": "G", "dd": "D", "bb": "B", "zz": "Z", "a": "AE",
    "b": "B", "c": "K", "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH", "k": "K", "l": "L",
    "m": "M", "n": "N", "o": "AA", "p": "P", "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V", "w": "W", "x": "K S",
    "y": "IY", "z": "Z",
}  # fmt: skip
LONGEST_GRAPHEME = max(map(len, GRAPHEMES))


@dataclass(frozen=True, slots=True)
class Phone:
    """One phone (ARPABET without stress, or ``SIL``) with its times in seconds; ``guessed``: of an unknown word."""

    label: str
    start_s: float
    end_s: float
    guessed: bool = False


@dataclass(frozen=True, slots=True)
class Alignments:
    """Phones by utterance id, and why the other utterances have none."""

    phones: Mapping[str, tuple[Phone, ...]]
    skipped: Mapping[str, str]


class PhoneAligner:
    """Aligns one clip at a time; the result depends on that clip and its transcript only."""

    def __init__(self) -> None:
        from pocketsphinx import Decoder

        self._decoder = Decoder(loglevel="FATAL", **SETTINGS)
        self._guessed: set[str] = set()

    def align(self, clip: AudioClip, transcript: str) -> tuple[Phone, ...]:
        """The phones of ``transcript`` in ``clip``, in order, pauses as ``SIL``.

        Raises:
            ValueError: no word in the transcript, a word that cannot be spelled out, or a transcript that the
                recording does not hold.
        """
        words = self._words(transcript)
        pcm = np.clip(np.round(clip.at_rate(SAMPLE_RATE_HZ).samples * 32767.0), -32768, 32767).astype(np.int16)
        try:
            self._decoder.set_align_text(" ".join(words))
            self._pass(pcm)
            if self._decoder.hyp() is None:
                raise ValueError("its transcript cannot be found in the recording")
            self._decoder.set_alignment()
            self._pass(pcm)
            aligned = self._decoder.get_alignment()
        except RuntimeError as error:
            raise ValueError(f"its transcript cannot be found in the recording ({error})") from error
        if aligned is None:
            raise ValueError("its transcript cannot be found in the recording")
        return tuple(
            Phone(
                phone.name,
                round(phone.start * FRAME_S, 3),
                round((phone.start + phone.duration) * FRAME_S, 3),
                word.name in self._guessed,
            )
            for word in aligned
            for phone in word
        )

    def _pass(self, pcm: np.ndarray) -> None:
        self._decoder.reinit_feat()
        self._decoder.start_utt()
        self._decoder.process_raw(pcm.tobytes(), False, True)
        self._decoder.end_utt()

    def _words(self, transcript: str) -> list[str]:
        tokens = transcript.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").replace("-", " ").split()
        words = []
        for token in tokens:
            bare = token.strip('.,;:!?"()[]')
            if not bare:
                continue
            if self._decoder.lookup_word(bare) is None:
                if not WORD.fullmatch(bare):
                    raise ValueError(f"its transcript holds {token!r}, which is not written out as a word")
                self._decoder.add_word(bare, spelled_out(bare), False)
                self._guessed.add(bare)
            words.append(bare)
        if not words:
            raise ValueError("it has no transcript")
        return words


def spelled_out(word: str) -> str:
    """A rough pronunciation, longest graphemes first; a silent final ``e`` is dropped."""
    letters = word.replace("'", "")
    if len(letters) > 3 and letters.endswith("e"):
        letters = letters[:-1]
    phones: list[str] = []
    at = 0
    while at < len(letters):
        length = next(n for n in range(LONGEST_GRAPHEME, 0, -1) if letters[at : at + n] in GRAPHEMES)
        phones.append(GRAPHEMES[letters[at : at + length]])
        at += length
    return " ".join(phones)


def align_utterances(utterances: Sequence[Utterance], progress: Progress = silent) -> Alignments:
    """Align what can be aligned; every other utterance is in ``skipped`` with its reason."""
    aligner = PhoneAligner()
    phones: dict[str, tuple[Phone, ...]] = {}
    skipped: dict[str, str] = {}
    with progress("align", len(utterances)) as advance:
        for utterance in utterances:
            try:
                if utterance.problem:
                    raise ValueError(utterance.problem)
                if not utterance.transcript:
                    raise ValueError("it has no transcript")
                clip = AudioClip.from_file(utterance.audio_path)
                phones[utterance.utterance_id] = aligner.align(clip, utterance.transcript)
            except ValueError as error:
                skipped[utterance.utterance_id] = str(error)
            advance(1)
    return Alignments(phones, skipped)
