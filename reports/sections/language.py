"""What the system's tokens and stages know of language: phone discriminability, likelihood of one clip over another."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import NotMeasured, Prose
from reports.context import Context
from reports.sections import Section
from reports.tables import role_table


def build(context: Context) -> Sequence[object]:
    measures = [measure for measure in context.measures_for("language") if measure.aggregate != "none"]
    return [
        Prose(
            "A model of speech should hold what was said likelier than a disturbed version of it. A share of one half"
            " is what a coin gives; a band of chance, where it is listed, says how far a coin strays with so few pairs."
        ),
        role_table(context, measures, "Likelihood and discriminability"),
        NotMeasured(
            ["Words, grammar and stories (sWUGGY, sBLIMP, story cloze) on their published sets, unless listed above."]
        ),
    ]


SECTION = Section(
    section_id="language",
    title="Language and likelihood",
    part="measurements",
    order=3,
    build=build,
    reads=("language",),
)
