"""The data the audit rests on: prompts, speakers, hours, groups, licences; and what is not known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from reports.blocks import Bullets, Cell, Column, Facts, NotMeasured, Table
from reports.context import Context
from reports.formats import clean, number_text
from reports.frames import rows_where
from reports.prompts import origin_of
from reports.sections import Section
from reports.tables import count, number


def build(context: Context) -> Sequence[object]:
    prompts = context.run.info.get("prompts")
    prompts = prompts if isinstance(prompts, Mapping) else {}
    items = context.run.generations
    facts = [
        ("Source", clean(prompts.get("source", "not stated"))),
        ("Origin of the voices", origin_of(context.run)),
        ("Part of the source used", _part(prompts)),
        ("Utterances", f"{items['utterance_id'].nunique():,}"),
        ("Speakers", f"{items.loc[items['speaker_id'] != '', 'speaker_id'].nunique():,}"),
        ("With transcript", f"{items.loc[items['transcript'] != '', 'utterance_id'].nunique():,}"),
        ("Speech of the recordings", _hours(items, ("reference",))),
        ("Speech made by the system", _hours(items, ("acoustic", "continuation", "unconditional", "recorded"))),
        ("Digest of the list", clean(prompts.get("sha256") or "not stated")),
    ]
    licences = prompts.get("licences")
    blocks: list[object] = [Facts(title="Prompts", pairs=facts)]
    if isinstance(licences, Mapping) and licences:
        rows = [[Cell(clean(name), "foreign"), count(int(size))] for name, size in licences.items()]
        columns = [Column("Licence"), Column("Utterances", "number")]
        blocks.append(Table(caption="Licences of the recordings", columns=columns, rows=rows))
    if context.run.group_names:
        blocks.append(_groups(context))
    notes = _notes(items)
    if notes:
        blocks.append(Bullets(title="Remarks on items", entries=notes))
    return [*blocks, NotMeasured(_open(context, prompts))]


def _part(prompts: Mapping[str, object]) -> str:
    split, limit = prompts.get("split"), prompts.get("limit")
    return f"{'split ' + str(split) if split else 'all splits'}, {f'{limit} utterances' if limit else 'no limit'}"


def _hours(items: pd.DataFrame, roles: tuple[str, ...]) -> str:
    total = float(items.loc[items["role"].isin(roles) & (items["status"] == "ok"), "duration_s"].sum())
    return f"{number_text(total / 60.0)} minutes" if total else "none"


def _groups(context: Context) -> Table:
    """Speakers, utterances and minutes per group of every audit axis."""
    items = context.run.generations
    first = items.drop_duplicates("utterance_id")
    rows = []
    for axis in context.run.group_names:
        for group in context.groups_of(axis):
            own = rows_where(first, first[f"group:{axis}"] == group)
            minutes = float(items.loc[items["utterance_id"].isin(own["utterance_id"]) & (items["role"] == "reference"),
                                      "duration_s"].sum()) / 60.0  # fmt: skip
            cells = [count(len(set(own["speaker_id"]))), count(len(own)), number(minutes)]
            rows.append([Cell(f"{axis}: {group}", "foreign"), *cells])
    columns = [
        Column("Group"), Column("Speakers", "number"), Column("Utterances", "number"),
        Column("Minutes recorded", "number"),
    ]  # fmt: skip
    return Table(caption="Groups of speakers", columns=columns, rows=rows, folded=len(rows) > 30)


def _notes(items: pd.DataFrame) -> list[str]:
    """Remarks that items carry, counted by their wording without the numbers in it."""
    if "note" not in items.columns:
        return []
    notes = [clean(note) for note in items["note"].tolist() if isinstance(note, str) and note]
    kinds: dict[str, list[str]] = {}
    for note in notes:
        if not note.startswith("continuation of "):
            key = "".join("#" if letter.isdigit() or letter == "." else letter for letter in note)
            kinds.setdefault(key, []).append(note)
    return [f"{len(found)} items, for instance: {found[0]}." for _, found in sorted(kinds.items())][:12]


def _open(context: Context, prompts: Mapping[str, object]) -> list[str]:
    found = [
        "Consent of the speakers: the manifest carries licences, not consent; ask the publisher of the corpus.",
        "Overlap of these prompts with the training data: not checked, since the run holds no list of training data.",
        "Duplicates among the prompts: not searched.",
    ]
    licences = prompts.get("licences")
    if not isinstance(licences, Mapping) or "unstated" in licences:
        found.insert(0, "Licence: the manifest states none for some or all recordings.")
    return found


SECTION = Section(section_id="data", title="Data sheet", part="summary", order=3, build=build)
