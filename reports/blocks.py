"""What a section may put on the page. Sections choose blocks; only the template knows HTML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = [
    "Browser", "Bullets", "Card", "Cards", "Cell", "Clip", "Clips", "Column", "Facts", "Figure", "FindingList",
    "NotMeasured",
    "Prose", "Question", "Table", "Verdict", "VerdictBox",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """A table cell. ``sort``: the key the script sorts by; ``style``: ``text``, ``number``, ``id``, ``severity``,
    ``status`` or ``foreign`` (text from outside, kept from disturbing the line). ``links``: ``(address, words)`` of
    places on the page, after the text."""

    text: str
    style: str = "text"
    sort: str = ""
    links: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A table column; ``style`` as of a cell."""

    label: str
    style: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of cells; the first cell of each row is its header. ``searchable`` adds filter and sort; ``folded`` shows
    the caption first and the rows on demand, without a script."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    searchable: bool = False
    folded: bool = False
    kind: str = field(default="table", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Browser:
    """All items: ``payload`` is JSON for the script, ``table`` what stands on the page without one."""

    payload: str
    total: int
    table: Table
    kind: str = field(default="browser", init=False)


@dataclass(frozen=True, slots=True)
class Prose:
    """Paragraphs; ``tone`` is ``plain``, ``lead``, ``small`` or ``warning``."""

    text: str
    tone: str = "plain"
    kind: str = field(default="prose", init=False)


@dataclass(frozen=True, slots=True)
class Question:
    """What a chapter asks."""

    text: str
    kind: str = field(default="question", init=False)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer: ``severity`` of the gravest finding (or ``none``, ``unknown``) and the sentences behind it."""

    severity: str
    sentences: Sequence[str]
    kind: str = field(default="verdict", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictBox:
    """The cover: overall severity, one sentence, counts as ``(label, number, severity)``."""

    severity: str
    sentence: str
    counts: Sequence[tuple[str, str, str]]
    kind: str = field(default="verdict_box", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Inline SVG made by ``reports.figures`` and its caption."""

    svg: str
    caption: str
    kind: str = field(default="figure", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """One clip of evidence. ``audio_uri`` is empty where the file is linked by ``href`` or missing; ``problem`` says
    why. ``first`` is False where the player stands in an earlier chapter under the same ``anchor``."""

    item_id: str
    anchor: str
    role: str
    facts: Sequence[str]
    transcript: str
    audio_uri: str = ""
    image_uri: str = ""
    image_alt: str = ""
    href: str = ""
    problem: str = ""
    first: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """Evidence that plays."""

    title: str
    clips: Sequence[Clip]
    note: str = ""
    kind: str = field(default="clips", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names and values, in order."""

    title: str
    pairs: Sequence[tuple[str, str]]
    kind: str = field(default="facts", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bullets:
    """A titled list of sentences."""

    title: str
    entries: Sequence[str]
    kind: str = field(default="bullets", init=False)


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """What a chapter leaves open, said in the chapter itself."""

    entries: Sequence[str]
    kind: str = field(default="not_measured", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingList:
    """Findings as ``reports.findings.Finding``."""

    findings: Sequence[object]
    kind: str = field(default="findings", init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A method card: a scorer with its protocol and its measures."""

    title: str
    pairs: Sequence[tuple[str, str]]
    table: Table
    more: Sequence[Table] = ()


@dataclass(frozen=True, slots=True)
class Cards:
    """Method cards."""

    cards: Sequence[Card]
    kind: str = field(default="cards", init=False)
