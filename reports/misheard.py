"""Which words were lost and how: the kinds of errors by role, the commonest ones, the worst clips word by word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from reports.blocks import Cell, Column, Table
from reports.chapters import item_values
from reports.context import ROLE_TITLES, Context
from reports.frames import column, rows_where
from reports.tables import count, number
from reports.transcripts import Word, error_kinds, read_alignments

__all__ = ["misheard_blocks", "spelled"]

WORST = 20
COMMONEST = 15
KINDS = (("s", "heard as another word"), ("d", "not heard"), ("i", "heard and not said"))


def misheard_blocks(context: Context, role: str) -> list[object]:
    """Tables of the errors behind the word error rate; empty where the run kept no words."""
    words = read_alignments(context.run.folder)
    if not words:
        return []
    return [_kinds(context, words), *_commonest(context, words, role), *_worst(context, words, role)]


def spelled(words: Sequence[Word]) -> str:
    """A line of text with its errors: ``[said → heard]``, ``[said → nothing]``, ``[nothing → heard]``."""
    parts = [said if mark == "=" else f"[{said or 'nothing'} → {heard or 'nothing'}]" for mark, said, heard in words]
    return " ".join(parts)


def _kinds(context: Context, words: Mapping[str, Sequence[Word]]) -> Table:
    items = context.run.generations
    rows = []
    for role in context.roles:
        own = [words[name] for name in column(rows_where(items, items["role"] == role), "item_id") if name in words]
        said = sum(1 for line in own for word in line if word[0] != "i")
        if not said:
            continue
        shares = [number(sum(word[0] == mark for line in own for word in line) / said, "share") for mark, _ in KINDS]
        rows.append([Cell(ROLE_TITLES.get(role, role)), count(len(own)), count(said), *shares])
    columns = [Column("Role"), Column("Clips", "number"), Column("Words said", "number"),
               *(Column(what.capitalize(), "number") for _, what in KINDS)]  # fmt: skip
    return Table(caption="Kinds of word errors", columns=columns, rows=rows, note="Shares of the words said.")


def _commonest(context: Context, words: Mapping[str, Sequence[Word]], role: str) -> list[object]:
    items = context.run.generations
    own = [words[name] for name in column(rows_where(items, items["role"] == role), "item_id") if name in words]
    found = error_kinds(own)
    ordered = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))[:COMMONEST]
    if not ordered:
        return []
    rows = [[Cell(said or "nothing", "foreign"), Cell(heard or "nothing", "foreign"), count(size)]
            for (_, said, heard), size in ordered]  # fmt: skip
    columns = [Column("Said"), Column("Heard"), Column("Times", "number")]
    caption = f"Commonest errors, {ROLE_TITLES.get(role, role)}"
    return [Table(caption=caption, columns=columns, rows=rows, folded=True)]


def _worst(context: Context, words: Mapping[str, Sequence[Word]], role: str) -> list[object]:
    lead = context.lead_measure("word_error")
    if lead is None:
        return []
    values = item_values(context, lead, role).sort_values(["value", "item_id"], ascending=[False, True])
    rows = [
        [Cell(str(row["item_id"]), "id"), number(float(row["value"]), "share"),
         Cell(spelled(words[str(row["item_id"])]), "foreign")]
        for row in values.head(WORST).to_dict("records")
        if str(row["item_id"]) in words
    ]  # fmt: skip
    if not rows:
        return []
    columns = [Column("Item", "id"), Column(lead.label, "number"), Column("Said and heard")]
    caption = f"The {len(rows)} clips with the most errors, {ROLE_TITLES.get(role, role)}"
    note = "In brackets: what was said, then what the recogniser heard."
    return [Table(caption=caption, columns=columns, rows=rows, note=note, folded=True)]
