"""A comparison of two audits as a page of the same make as the report."""

from __future__ import annotations

from pathlib import Path

from reports.blocks import Bullets, Cell, Column, Facts, Table, VerdictBox
from reports.findings import SEVERITIES
from reports.formats import isolate, number_text, range_text
from reports.render import RenderedSection, render_page
from reports.schemas import Comparison, FindingChange
from reports.whole_files import write_whole

__all__ = ["comparison_page", "write_comparison_page"]

COUNTED = (("new", "major"), ("regressed", "major"), ("fixed", "none"), ("improved", "none"), ("within noise", "info"),
           ("not comparable", "unknown"))  # fmt: skip


def write_comparison_page(path: Path, comparison: Comparison) -> None:
    """``comparison.html``, self-contained."""
    write_whole(path, comparison_page(comparison))


def comparison_page(comparison: Comparison) -> str:
    """Counts, warnings, then every finding of either audit."""
    old, new = comparison.old, comparison.new
    lead = (
        f"Compared: run {isolate(old['run_id'])} (old) with run {isolate(new['run_id'])} (new).",
        "On the same prompts." if comparison.same_prompts else "The two runs do not share one list of prompts.",
    )
    sections = [
        RenderedSection(
            section_id="changes", number="1", title="What changed", part="summary", blocks=_summary(comparison)
        ),
        RenderedSection(
            section_id="audits",
            number="2",
            title="The two audits",
            part="record",
            blocks=[
                Facts(title="Old", pairs=list(old.items())),
                Facts(title="New", pairs=list(new.items())),
            ],
        ),
    ]
    title = f"Audit of {isolate(new['system'])}, compared with the last one"
    return render_page(
        title=title, lead=lead, sections=sections, meta={"run_id": new["run_id"], "system": new["system"], "policy": ""}
    )


def _summary(comparison: Comparison) -> list[object]:
    worse = [c for c in comparison.changes if c.change in ("new", "regressed") and c.new_severity in SEVERITIES[1:]]
    severity = max((c.new_severity for c in worse), key=SEVERITIES.index, default="none")
    sentence = (
        f"{len(worse)} finding(s) at or above a threshold are new or grew worse beyond noise."
        if worse
        else "No finding at or above a threshold is new or grew worse beyond noise."
    )
    counts = [(name, str(comparison.counts.get(name, 0)), style) for name, style in COUNTED]
    blocks: list[object] = [VerdictBox(severity=severity, sentence=sentence, counts=counts)]
    if comparison.warnings:
        blocks.append(Bullets(title="Read this first", entries=comparison.warnings))
    names = ("Finding", "Change", "Why", "Was", "Is", "Old", "New", "Difference", "95 % interval", "Formed from")
    columns = [
        Column(name, "number" if name in ("Old", "New", "Difference", "95 % interval") else "text") for name in names
    ]
    note = "Within noise: the interval of the difference includes zero. An absent finding was not measured there."
    blocks.append(
        Table(
            caption="Findings of either audit",
            columns=columns,
            rows=[_row(one) for one in comparison.changes],
            note=note,
        )
    )
    return blocks


def _row(change: FindingChange) -> list[Cell]:
    interval = "none"
    if change.ci_low is not None and change.ci_high is not None:
        interval = range_text(change.ci_low, change.ci_high, change.unit)
    return [
        Cell(change.finding_id, "id"),
        Cell(change.change),
        Cell(change.why),
        _severity(change.old_severity),
        _severity(change.new_severity),
        Cell(number_text(change.old, change.unit), "number"),
        Cell(number_text(change.new, change.unit), "number"),
        Cell(number_text(change.difference, change.unit), "number"),
        Cell(interval, "number"),
        Cell(change.method or "nothing"),
    ]


def _severity(name: str) -> Cell:
    return Cell(name, "severity") if name in SEVERITIES else Cell(name)
