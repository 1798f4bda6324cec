"""How numbers, units and foreign text are written, in one place."""

from __future__ import annotations

import math
import re

from reports.estimates import Estimate

__all__ = ["MISSING", "clean", "interval_text", "isolate", "number_text", "range_text", "with_interval"]

MISSING = "–"
NBSP = "\u00a0"
MINUS = "−"
PERCENT_UNITS = {"share", "ratio", "rate", "fraction", "proportion", "probability", "wer", "cer"}
BARE_UNITS = {"", "1", "-", "none", "cosine", "score", "unitless", "dimensionless", "count"}

NAME_CHARACTERS = 60
DIRECTION_MARKS = {ord(mark): None for mark in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"}

CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def clean(value: object) -> str:
    """Text that any HTML parser accepts: control characters and lone surrogates become U+FFFD."""
    return CONTROLS.sub("\ufffd", str(value))


def isolate(value: object) -> str:
    """Foreign text inside a sentence of ours: shortened, on one line, its writing direction kept to itself.

    Unicode FIRST STRONG ISOLATE closes whatever direction marks the text leaves open (UAX 9, section 2.6).
    """
    text = " ".join(clean(value).translate(DIRECTION_MARKS).split())
    text = text if len(text) <= NAME_CHARACTERS else f"{text[: NAME_CHARACTERS - 1]}…"
    return text if text.isascii() else f"\u2068{text}\u2069"


def is_percent(unit: str) -> bool:
    """Whether numbers of this unit are shares in [0, 1] and read best as per cent."""
    return unit.strip().lower() in PERCENT_UNITS


def number_text(value: float | None, unit: str = "") -> str:
    """A number with its unit; shares as per cent, a true minus sign, a dash for what is missing."""
    if value is None or not math.isfinite(value):
        return MISSING
    if is_percent(unit):
        return f"{_plain(value * 100.0, 1)}{NBSP}%"
    if unit == "USD":
        return f"{_plain(value, 2)}{NBSP}USD"
    text = _plain(value, _decimals(value))
    return text if unit.strip().lower() in BARE_UNITS else f"{text}{NBSP}{unit}"


def _decimals(value: float) -> int:
    size = abs(value)
    if size == 0 or size >= 1000:
        return 0
    return max(0, min(4, 2 - math.floor(math.log10(size)))) if size < 1 else (1 if size >= 100 else 2)


def _plain(value: float, decimals: int) -> str:
    rounded = round(value, decimals) + 0.0
    if rounded == 0.0 and value != 0.0:
        limit = f"{10.0**-decimals:.{decimals}f}"
        return f"<{limit}" if value > 0 else f">{MINUS}{limit}"
    text = f"{abs(rounded):,.{decimals}f}"
    return f"{MINUS}{text}" if rounded < 0 else text


def interval_text(estimate: Estimate, unit: str = "") -> str:
    """The interval alone, or the reason why there is none."""
    if not estimate.has_interval:
        return estimate.no_interval or "no interval"
    return range_text(estimate.ci_low, estimate.ci_high, unit)


def range_text(low: float, high: float, unit: str = "") -> str:
    """Two numbers with their unit said once."""
    high_text = number_text(high, unit)
    low_text = number_text(low, unit)
    tail = high_text.partition(NBSP)[2]
    return f"{low_text.removesuffix(NBSP + tail) if tail else low_text} to {high_text}"


def with_interval(estimate: Estimate, unit: str = "") -> str:
    """``12.0 % (95 % interval 8.1 % to 16.2 %; n = 20 items of 10 speakers)``."""
    count = f"n = {estimate.n_items} {'item' if estimate.n_items == 1 else 'items'} of {estimate.n_speakers}"
    count += " speaker" if estimate.n_speakers == 1 else " speakers"
    if not estimate.has_interval:
        return f"{number_text(estimate.estimate, unit)} ({estimate.no_interval or 'no interval'}; {count})"
    return f"{number_text(estimate.estimate, unit)} (95 % interval {interval_text(estimate, unit)}; {count})"
