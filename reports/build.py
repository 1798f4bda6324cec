"""From a run folder to ``report.html`` and the machine-readable files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from reports.artefacts import open_run
from reports.audio_players import EMBEDDED_CLIPS, ClipDesk
from reports.context import Context, Outcome
from reports.digests import file_digest, write_digests
from reports.findings import SEVERITIES, rank, worst, write_findings
from reports.formats import clean
from reports.plan import PLAN, POLICY, read_plan
from reports.policy import load_policy
from reports.policy_check import check_measures
from reports.prompts import prompt_lines
from reports.render import RenderedSection, render_page
from reports.sarif import write_sarif
from reports.sections import Section, discover
from reports.summary import system_digest, write_summary
from reports.whole_files import write_whole

__all__ = ["ReportResult", "build_report"]


@dataclass(frozen=True, slots=True)
class ReportResult:
    """What was written. ``worst_severity`` is ``none`` for a run without findings; ``gate_hit`` says whether a
    finding reaches the gate."""

    report_path: Path
    findings_path: Path
    worst_severity: str
    gate_hit: bool


def build_report(
    run_folder: Path,
    *,
    gate: str = "major",
    policy: Path | None = None,
    plan: Path | None = None,
    clips: int = EMBEDDED_CLIPS,
) -> ReportResult:
    """Write report and machine-readable files into a finished run folder, the same bytes each time.

    ``gate``: the mildest severity that counts as a hit, or ``never``. ``policy``: the auditor's own thresholds;
    ``plan``: what was laid down before the run. Both are kept in the run folder and used again without being named.
    ``clips``: how many clips travel inside the page.

    Raises:
        ValueError: unknown gate; a table missing, truncated or of another version; a policy without sources.
    """
    if gate != "never" and gate not in SEVERITIES:
        raise ValueError(f"gate is {gate!r}; use one of {', '.join(SEVERITIES)} or never")
    if clips < 0:
        raise ValueError(f"clips is {clips}; give 0 or more clips to embed")
    run = open_run(Path(run_folder))
    asked = run.folder / POLICY if policy is None else Path(policy)
    rules = load_policy(asked if policy is not None or asked.is_file() else None)
    check_measures(rules, run, str(asked))  # refused before it is kept
    plan_path = _kept(run.folder / PLAN, plan)
    _kept(run.folder / POLICY, policy)
    context = Context(run=run, policy=rules, desk=ClipDesk(run, limit=clips), plan=read_plan(plan_path))
    sections = _build_sections(context, discover())
    run_id = clean(run.info.get("run_id", run.folder.name))
    page = render_page(
        title=f"Safety audit of {clean(context.system) or 'an unnamed system'}",
        lead=prompt_lines(run),
        sections=sections,
        meta={"run_id": run_id, "system": clean(context.system), "policy": _about(context)},
    )
    report_path, findings_path = run.folder / "report.html", run.folder / "findings.json"
    write_findings(findings_path, context.findings)
    write_sarif(run.folder / "findings.sarif", context, _version())
    write_summary(
        run.folder / "summary.json", context, sections, file_digest(plan_path) if plan_path.is_file() else None
    )
    write_whole(report_path, page)
    write_digests(run.folder, run_id, run.generations)
    severity = worst(context.findings)
    hit = gate != "never" and rank(severity) >= rank(gate)
    return ReportResult(report_path, findings_path, severity, hit)


def _about(context: Context) -> str:
    """Checkpoint, day of the audit, auditor and policy, as far as the run states them."""
    system, auditor = context.run.info.get("system"), context.run.info.get("auditor")
    named = str(system.get("checkpoint") or "") if isinstance(system, Mapping) else ""
    checkpoint = f"checkpoint {named} {system_digest(context.run.info)[:12]}".strip() if named else ""
    day = str(context.run.info.get("created_utc") or "")[:10]
    who = "auditor stated under Scope" if auditor else "auditor not stated"
    parts = (checkpoint, f"audited {day}" if day else "", who, context.policy.title)
    return " · ".join(clean(part) for part in parts if part)


def _kept(kept: Path, given: Path | None) -> Path:
    """The path of a policy or plan inside the run folder, after copying what was given there."""
    if given is None:
        return kept
    try:
        content = Path(given).read_bytes()
    except OSError as error:
        raise ValueError(f"{given}: cannot be read ({error.strerror}); name a file") from error
    if kept.name == PLAN:
        read_plan(Path(given))  # refused before it is kept
    if not kept.is_file() or kept.read_bytes() != content:
        write_whole(kept, content)
    return kept


def _version() -> str:
    try:
        return metadata.version("audiolm-audit")
    except metadata.PackageNotFoundError:
        return "0.0.0"


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
