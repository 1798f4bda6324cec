"""Where every number comes from: run.json, readable."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports.artefacts import Run
from reports.blocks import Cell, Column, Facts, Prose, Table
from reports.context import Context
from reports.sections import Section

TABLES = ("run.json", "generations.parquet", "scores.parquet", "measures.json", "summary.parquet", "curves.json")
LEAD = ("schema_version", "run_id", "command", "prompts", "system", "seeds", "seed")


def build(context: Context) -> Sequence[object]:
    info = context.run.info
    keys = [key for key in LEAD if key in info] + [key for key in info if key not in LEAD]
    simple = [(key, _text(info[key])) for key in keys if not isinstance(info[key], Mapping)]
    blocks: list[object] = [
        Prose("This page was made from the files below and nothing else; the same files give the same page.", "small"),
        Facts(title="Run", pairs=simple),
    ]
    for key in keys:
        if isinstance(info[key], Mapping) and info[key]:
            blocks.append(Facts(title=key.replace("_", " ").capitalize(), pairs=list(_flat(info[key], ""))))
    return [*blocks, _digests(context.run)]


def _flat(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from _flat(value, name)
        elif isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
            for number, entry in enumerate(value, 1):
                if isinstance(entry, Mapping):
                    yield from _flat(entry, f"{name}.{number}")
                else:
                    yield f"{name}.{number}", _text(entry)
        else:
            yield name, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(str(entry) for entry in value) or "none"
    if value is None or value == "" or value == {}:
        return "none"
    return str(value)


def _digests(run: Run) -> Table:
    rows = []
    for name in TABLES:
        path = run.folder / name
        if path.is_file():
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            rows.append([Cell(name), Cell(f"{len(content):,}", "number", str(len(content))), Cell(digest, "id")])
    columns = [Column("File"), Column("Bytes", "number"), Column("SHA-256", "id")]
    return Table(caption="Digests of the files this page was made from", columns=columns, rows=rows)


SECTION = Section(section_id="provenance", title="Provenance", part="record", order=6, build=build)
