"""ABX items: stretches of speech around one phone, in the ``.item`` tables of ZeroSpeech and Libri-light.

Libri-light (Kahn et al. 2020) lists triphones: the stretch covers the phone and both its neighbours, so that two items
of one context differ in their middle only. Columns: file, onset, offset, phone, previous phone, next phone, speaker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evaluation.language.alignment import SILENCE, Phone
from evaluation.whole_files import write_whole

__all__ = ["MAX_PHONE_S", "SPANS", "AbxItem", "items_of", "read_items", "write_items"]

HEADER = "#file onset offset #phone prev-phone next-phone speaker"
SPANS = ("triphone", "phone")
MAX_PHONE_S = 0.35
"""A longer phone is taken for an alignment that swallowed a pause or a noise."""


@dataclass(frozen=True, slots=True)
class AbxItem:
    """A stretch of ``file`` (an utterance id) in seconds, its phone in its context, and who speaks."""

    file: str
    onset_s: float
    offset_s: float
    phone: str
    previous: str
    next: str
    speaker: str


def items_of(
    phones: Mapping[str, Sequence[Phone]], speakers: Mapping[str, str], *, span: str = "triphone"
) -> list[AbxItem]:
    """Items of aligned utterances: every phone between two phones of known words, without pause among the three.

    ``span``: ``triphone`` takes the neighbours into the stretch, ``phone`` does not.
    """
    if span not in SPANS:
        raise ValueError(f"span is {span!r}; use one of {', '.join(SPANS)}")
    items = []
    for file, row in phones.items():
        for before, middle, after in zip(row, row[1:], row[2:], strict=False):
            three = (before, middle, after)
            if any(phone.label == SILENCE or phone.guessed for phone in three):
                continue
            if any(phone.end_s - phone.start_s > MAX_PHONE_S for phone in three):
                continue
            first, last = (before, after) if span == "triphone" else (middle, middle)
            items.append(
                AbxItem(file, first.start_s, last.end_s, middle.label, before.label, after.label, speakers[file])
            )
    return items


def write_items(path: str | Path, items: Iterable[AbxItem]) -> None:
    """Write Libri-light's table: one line per item below a header line."""
    lines = [HEADER]
    lines += [
        f"{item.file} {item.onset_s:.4f} {item.offset_s:.4f} {item.phone} {item.previous} {item.next} {item.speaker}"
        for item in items
    ]
    write_whole(Path(path), "\n".join(lines) + "\n")


def read_items(path: str | Path) -> list[AbxItem]:
    """Read a ``.item`` table; a header line is skipped.

    Raises:
        ValueError: no such file, or a line that is not an item; the message names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such file; name a table with the columns {HEADER[1:]}")
    items = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.split()
        if len(fields) != 7:
            raise ValueError(f"{path}, line {number}: has {len(fields)} columns, not 7; write {HEADER[1:]}")
        try:
            onset_s, offset_s = float(fields[1]), float(fields[2])
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: onset and offset must be seconds ({error})") from error
        if not 0 <= onset_s < offset_s:
            raise ValueError(f"{path}, line {number}: onset {onset_s:g} and offset {offset_s:g} are not in order")
        items.append(AbxItem(fields[0], onset_s, offset_s, *fields[3:]))
    if not items:
        raise ValueError(f"{path}: holds no item; write one line per item: {HEADER[1:]}")
    return items
