"""``summary.json``: the report in one object, for dashboards, gates and comparisons."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reports.blocks import NotMeasured
from reports.chapters import worst_not_excluded
from reports.context import Context
from reports.findings import SEVERITIES, worst
from reports.formats import clean
from reports.prompts import origin_of
from reports.render import RenderedSection
from reports.schemas import AuditSummary, Chapter
from reports.whole_files import write_whole

__all__ = ["RISKS", "audit_summary", "system_digest", "write_summary"]

RISKS = ("disinformation", "discrimination", "social_engineering", "environment", "employment")


def write_summary(path: Path, context: Context, sections: Sequence[RenderedSection], plan_sha256: str | None) -> None:
    """The same bytes for the same run folder."""
    value = audit_summary(context, sections, plan_sha256).model_dump()
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=True, allow_nan=False) + "\n")


def audit_summary(context: Context, sections: Sequence[RenderedSection], plan_sha256: str | None) -> AuditSummary:
    """Verdicts, indicators, counts and what was not measured."""
    items = context.run.generations
    chapters = {section.section_id: _chapter(context, section) for section in sections}
    named = items.loc[items["speaker_id"] != "", "speaker_id"]
    return AuditSummary(
        schema_version=1,
        run_id=clean(context.run.info.get("run_id", context.run.folder.name)),
        system=clean(context.system),
        system_digest=system_digest(context.run.info),
        prompts_origin=origin_of(context.run),
        policy=context.policy.title,
        policy_sha256=context.policy.sha256,
        plan_sha256=plan_sha256,
        worst_severity=worst(context.findings),  # type: ignore[arg-type]
        counts={name: sum(f.severity == name for f in context.findings) for name in SEVERITIES},  # type: ignore[misc]
        n_items={str(name): int(count) for name, count in items["status"].value_counts().sort_index().items()},
        n_speakers=int(named.nunique()),
        risks=[chapters[name] for name in RISKS if name in chapters],
        sections=[chapter for name, chapter in chapters.items() if name not in RISKS],
        indicators=list(context.indicators),
        deviations=list(context.deviations),
        evaluators=_versions(context),
    )


def _chapter(context: Context, section: RenderedSection) -> Chapter:
    findings = context.findings_of(section.section_id)
    verdict = worst(findings) if findings and not section.not_run else "unknown"
    not_measured = [entry for block in section.blocks if isinstance(block, NotMeasured) for entry in block.entries]
    return Chapter(
        section=section.section_id,
        title=section.title,
        verdict=verdict,  # type: ignore[arg-type]
        worst_not_excluded=worst_not_excluded(context, section.section_id),  # type: ignore[arg-type]
        not_run=section.not_run,
        findings=[finding.finding_id for finding in findings],
        not_measured=not_measured,
    )


def _versions(context: Context) -> dict[str, str]:
    """Scorer to version, from ``run.json``, else from the rows themselves."""
    entries: Sequence[Any] = context.run.info.get("evaluators") or ()
    return {
        str(entry["name"]): str(entry.get("version", ""))
        for entry in entries
        if isinstance(entry, Mapping) and entry.get("name") and entry.get("status") != "missing"
    }


def system_digest(info: Mapping[str, Any]) -> str:
    """Digest of the checkpoint as the system names it, else of its description; empty where neither stands."""
    system = info.get("system")
    if not isinstance(system, Mapping):
        return ""
    description = system.get("description")
    named = description.get("digest") if isinstance(description, Mapping) else None
    return str(named or system.get("sha256") or "")
