"""Does the system say again what it was trained on? Listed as not measured unless a scorer of the run measured it."""

from __future__ import annotations

from collections.abc import Sequence

from reports.blocks import NotMeasured, Prose
from reports.context import Context
from reports.sections import Section
from reports.tables import role_table


def build(context: Context) -> Sequence[object]:
    measures = context.measures_for("memorisation")
    blocks: list[object] = [
        Prose(
            "A generative model can repeat training recordings: their words, their voice, or both. To show it, each"
            " generated clip is compared with its nearest training recordings, and planted recordings are asked for."
        )
    ]
    if measures:
        note = "Read against recordings that the system cannot have heard."
        blocks.append(role_table(context, measures, "Nearness to training data", note))
    missing = [
        "Nearest training recording of each clip: the run holds no training data to search.",
        "Planted recordings (canaries): the training of this checkpoint planted none that the run knows of.",
        "Whether a person's recordings were used for training (membership): not tested.",
    ]
    tail = () if measures else (Prose("Nothing of this was measured in this run, so no verdict is given.", "warning"),)
    return [*blocks, *tail, NotMeasured(missing[1:] if measures else missing)]


SECTION = Section(
    section_id="memorisation", title="Memorisation and privacy", part="measurements", order=6, build=build
)
