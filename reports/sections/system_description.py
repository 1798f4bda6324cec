"""What was audited: parts, parameters, digests, settings, as the system describes itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports.blocks import Cell, Column, Facts, NotMeasured, Prose, Table
from reports.context import Context
from reports.sections import Section
from reports.summary import system_digest
from reports.tables import count
from reports.training_energy import training_costs


def build(context: Context) -> Sequence[object]:
    system = context.run.info.get("system")
    system = system if isinstance(system, Mapping) else {}
    description = system.get("description")
    description = description if isinstance(description, Mapping) else {}
    facts = [
        ("Name", str(description.get("name") or system.get("name") or "not stated")),
        ("Checkpoint", str(system.get("checkpoint") or "not stated")),
        ("Digest of the checkpoint", system_digest(context.run.info) or "not stated"),
    ]
    for key, title in (("parameters", "Parameters"), ("sample_rate_hz", "Sample rate (Hz)")):
        if isinstance(description.get(key), int):
            facts.append((title, f"{description[key]:,}"))
    blocks: list[object] = [
        Prose("Taken from what the system says of itself in run.json; the audit did not check it against the weights.",
              "small"),
        Facts(title="System", pairs=facts),
    ]  # fmt: skip
    parts = _parts(description.get("parts"))
    if parts:
        columns = [Column("Part"), Column("Parameters", "number"), Column("SHA-256 of the weights", "id")]
        blocks.append(Table(caption="Parts", columns=columns, rows=parts))
    blocks += _settings(description)
    missing = []
    if not training_costs(context):
        missing.append("Training: the description says nothing of data, steps, hardware or energy.")
    if not context.run.info.get("changes"):
        missing.append("Changes since the last audit: none stated; audiolm-audit compare finds them by measuring.")
    return [*blocks, NotMeasured(missing)] if missing else blocks


def _parts(parts: object) -> list[list[Cell]]:
    if not isinstance(parts, Mapping):
        return []
    rows = []
    for name, part in parts.items():
        part = part if isinstance(part, Mapping) else {}
        size = part.get("parameters")
        rows.append(
            [
                Cell(str(name).replace("_", " ")),
                count(size) if isinstance(size, int) else Cell("not stated", "number"),
                Cell(str(part.get("weights_sha256") or "not stated"), "id"),
            ]
        )
    return rows


def _settings(description: Mapping[str, Any]) -> list[object]:
    """Sampling options and the size of each stage."""
    blocks: list[object] = []
    options = description.get("options")
    if isinstance(options, Mapping) and options:
        blocks.append(Facts(title="Sampling settings", pairs=list(_flat(options))))
    stages = description.get("stages")
    if isinstance(stages, Mapping) and stages:
        rows = []
        for name, stage in stages.items():
            shape = stage.get("transformer", {}) if isinstance(stage, Mapping) else {}
            text = ", ".join(f"{key} {value}" for key, value in shape.items()) if isinstance(shape, Mapping) else ""
            window = stage.get("window", "") if isinstance(stage, Mapping) else ""
            rows.append([Cell(str(name)), Cell(text or "not stated"), Cell(str(window), "number")])
        columns = [Column("Stage"), Column("Decoder"), Column("Window (frames)", "number")]
        blocks.append(Table(caption="Stages", columns=columns, rows=rows))
    return blocks


def _flat(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        name = f"{path} {key}".strip().replace("_", " ")
        if isinstance(value, Mapping):
            yield from _flat(value, name)
        else:
            yield name, "off" if value is None else str(value)


SECTION = Section(section_id="system", title="System description", part="summary", order=2, build=build)
