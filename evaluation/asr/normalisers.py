"""The spellings in which two texts are compared. A word error rate has no meaning without the name of its normaliser.

``whisper``: Radford et al. 2022, appendix C (numbers to digits, American spelling, fillers gone). ``plain``: lower case
without punctuation, nothing else. ``seed_tts``: as seed-tts-eval prepares its texts, kept with its quirks so that its
figures can be compared: hyphens are deleted, so a compound becomes one word; numbers stay as they are written.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable
from functools import lru_cache

__all__ = ["NORMALISERS", "plain", "seed_tts", "whisper_english"]

KEPT_MARKS = "'\u2019"
"""Apostrophes are letters of English words."""


@lru_cache(maxsize=1)
def _whisper():
    from whisper.normalizers import EnglishTextNormalizer

    return EnglishTextNormalizer()


def whisper_english(text: str) -> str:
    """Lower case, no punctuation, digits for numbers, American spelling.

    Marks that the normaliser leaves standing alone (the full stop of ``...``) are no words and go.
    """
    words = str(_whisper()(text)).split()
    return " ".join(word for word in words if any(letter.isalnum() for letter in word))


def plain(text: str) -> str:
    """Lower case; every mark but the apostrophe parts words, as a hyphen does; an apostrophe alone is no word."""
    letters = "".join("'" if mark in KEPT_MARKS else mark if mark.isalnum() else " " for mark in text.lower())
    return " ".join(word for word in letters.split() if word.strip("'"))


def seed_tts(text: str) -> str:
    """seed-tts-eval, English: marks deleted but the apostrophe, double spaces halved once, lower case."""
    kept = "".join(mark for mark in text if mark == "'" or not _is_seed_tts_mark(mark))
    return kept.replace("  ", " ").lower()


def _is_seed_tts_mark(mark: str) -> bool:
    """ASCII punctuation, and what Chinese text punctuates with: general, CJK and full-width punctuation."""
    if mark in string.punctuation:
        return True
    point = ord(mark)
    general = point in (0x00B7, 0x2013, 0x2014, 0x2018, 0x2019, 0x201B, 0x201C, 0x201D, 0x201E, 0x201F, 0x2026, 0x2027)
    wide = 0x3001 <= point <= 0x303F or 0xFE4F <= point <= 0xFE54 or 0xFF01 <= point <= 0xFF64
    return general or (wide and unicodedata.category(mark)[0] in "PSZ")


NORMALISERS: dict[str, Callable[[str], str]] = {"whisper": whisper_english, "plain": plain, "seed_tts": seed_tts}
"""By the name that measures carry."""
