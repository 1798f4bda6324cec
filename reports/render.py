"""Sections to one HTML page: Jinja with autoescape on and undefined names refused; style and script inline."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import jinja2
from markupsafe import Markup

from reports.formats import clean, number_text, range_text

__all__ = ["RenderedSection", "render_page"]

LONG_TEXT = 500
PREVIEW = 120
PART_TITLES = {
    "summary": "Summary",
    "measurements": "Measurements",
    "risks": "Five risks",
    "record": "Record",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedSection:
    """A section ready for the page; ``not_run`` is the reason where there are no blocks."""

    section_id: str
    number: str
    title: str
    part: str
    blocks: Sequence[object]
    not_run: str = ""
    severity: str = ""


def render_page(
    *, title: str, lead: Sequence[str], sections: Sequence[RenderedSection], meta: Mapping[str, str]
) -> str:
    """The whole page. ``lead`` are its first lines: which prompts the run used."""
    style, script = _asset("report.css"), _asset("report.js") + _asset("browser.js")
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return _template().render(
        title=title,
        lead=lead,
        parts=[(key, name, [s for s in sections if s.part == key]) for key, name in PART_TITLES.items()],
        meta=meta,
        style=Markup(style),
        script=Markup(script),
        script_digest=digest,
        svg=Markup,
    )


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_asset),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(clean=clean, number=number_text, range=range_text, long=is_long, preview=preview)
    return environment.get_template("report.html.j2")


def is_long(text: str) -> bool:
    """Whether a text is folded behind a summary instead of filling the page."""
    return len(text) > LONG_TEXT


def preview(text: str) -> str:
    """The start of a long text."""
    return text[:PREVIEW]


def _asset(name: str) -> str:
    return (resources.files("reports") / "templates" / name).read_text("utf-8")
