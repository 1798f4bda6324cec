"""From a run folder to ``report.html`` and ``findings.json``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.artefacts import open_run
from reports.audio_players import ClipDesk
from reports.context import Context, Outcome
from reports.findings import SEVERITIES, rank, worst, write_findings
from reports.formats import clean
from reports.policy import load_policy
from reports.prompts import prompt_lines
from reports.render import RenderedSection, render_page
from reports.sections import Section, discover

__all__ = ["ReportResult", "build_report"]


@dataclass(frozen=True, slots=True)
class ReportResult:
    """What was written. ``worst_severity`` is ``none`` for a run without findings; ``gate_hit`` says whether a
    finding reaches the gate."""

    report_path: Path
    findings_path: Path
    worst_severity: str
    gate_hit: bool


def build_report(run_folder: Path, *, gate: str = "major", policy: Path | None = None) -> ReportResult:
    """Write ``findings.json`` and ``report.html`` into a finished run folder, the same bytes each time.

    ``gate``: the mildest severity that counts as a hit, or ``never``. ``policy``: the auditor's own thresholds.

    Raises:
        ValueError: unknown gate; a table missing, truncated or of another version; a policy without sources.
    """
    if gate != "never" and gate not in SEVERITIES:
        raise ValueError(f"gate is {gate!r}; use one of {', '.join(SEVERITIES)} or never")
    run = open_run(Path(run_folder))
    context = Context(run=run, policy=load_policy(policy), desk=ClipDesk(run))
    sections = _build_sections(context, discover())
    report_path, findings_path = run.folder / "report.html", run.folder / "findings.json"
    run_id = clean(run.info.get("run_id", run.folder.name))
    page = render_page(
        title=f"Safety audit of {clean(context.system) or 'an unnamed system'}",
        lead=prompt_lines(run),
        sections=sections,
        meta={"run_id": run_id, "system": clean(context.system), "policy": context.policy.title},
    )
    write_findings(findings_path, context.findings)
    temporary = report_path.with_name(f".{report_path.name}.{os.getpid()}.tmp")
    temporary.write_text(page, encoding="utf-8")
    os.replace(temporary, report_path)
    severity = worst(context.findings)
    hit = gate != "never" and rank(severity) >= rank(gate)
    return ReportResult(report_path, findings_path, severity, hit)


def _build_sections(context: Context, sections: Sequence[Section]) -> list[RenderedSection]:
    """Closing sections last, since they speak of the others' findings; the page keeps its own order."""
    blocks: dict[str, Sequence[object]] = {}
    reasons = {section.section_id: section.not_run(context) for section in sections}
    context.outcomes = [
        Outcome(section_id=s.section_id, title=s.title, not_run=reasons[s.section_id]) for s in sections
    ]
    for section in sorted(sections, key=lambda section: section.closing):
        if not reasons[section.section_id]:
            blocks[section.section_id] = section.build(context)
    return [
        RenderedSection(
            section_id=section.section_id,
            number=str(number),
            title=section.title,
            part=section.part,
            blocks=blocks.get(section.section_id, ()),
            not_run=reasons[section.section_id],
            severity=_severity(context, section, reasons[section.section_id]),
        )
        for number, section in enumerate(sections, 1)
    ]


def _severity(context: Context, section: Section, not_run: str) -> str:
    """The badge of a risk chapter in the table of contents; other sections have none."""
    if section.part != "risks":
        return ""
    findings = context.findings_of(section.section_id)
    return worst(findings) if findings and not not_run else "unknown"
