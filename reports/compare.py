"""Two audits of a system: which findings are new, fixed, regressed, and which moved no more than noise.

A difference is formed on the prompts that both runs share, speakers resampled together, wherever the number comes from
items. Else two independent intervals are joined (root of the sum of squared arms). Numbers of unlike evaluators are
never compared.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from reports.artefacts import open_run
from reports.audio_players import ClipDesk
from reports.changes import paired_parts
from reports.context import Context
from reports.estimates import Estimate, signed_ratios
from reports.findings import rank
from reports.formats import clean, isolate
from reports.policy import load_policy
from reports.schemas import AuditSummary, Comparison, FindingChange, FindingList, FindingRow
from reports.whole_files import write_whole

__all__ = ["Audit", "audit_facts", "compare_runs", "open_audit", "unlike_evaluators", "write_comparison"]

CHANGES = ("new", "regressed", "fixed", "improved", "changed", "within noise", "same", "not comparable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """A finished run with its report."""

    context: Context
    summary: AuditSummary
    findings: Mapping[str, FindingRow]


def open_audit(folder: Path) -> Audit:
    """Read the run and the files its report left.

    Raises:
        ValueError: no run folder, or its report was never built or by another version.
    """
    run = open_run(folder)
    own = run.folder / "policy.toml"
    policy = load_policy(own if own.is_file() else None)
    summary_path, findings_path = run.folder / "summary.json", run.folder / "findings.json"
    for path in (summary_path, findings_path):
        if not path.is_file():
            raise ValueError(f"{path}: missing; build the report first (audiolm-audit report {run.folder})")
    try:
        summary = AuditSummary.model_validate_json(summary_path.read_text(encoding="utf-8"))
        rows = FindingList.model_validate_json(findings_path.read_text(encoding="utf-8")).root
    except (UnicodeDecodeError, ValidationError) as error:
        first = clean(" ".join(str(error).splitlines()[:3]))
        raise ValueError(f"{run.folder}: its report cannot be read ({first}); build it again") from error
    context = Context(run=run, policy=policy, desk=ClipDesk(run))
    return Audit(context=context, summary=summary, findings={row.finding_id: row for row in rows})


def compare_runs(old: Audit, new: Audit) -> Comparison:
    """Every finding of either audit, gravest changes first.

    Raises:
        ValueError: no evaluator ran in both audits in the same version.
    """
    unlike_evaluators((old, new))
    prompts = [_prompts_digest(audit) for audit in (old, new)]
    same_prompts = bool(prompts[0]) and prompts[0] == prompts[1]
    names = list(dict.fromkeys([*old.findings, *new.findings]))
    changes = [_change(name, old, new) for name in names]
    changes.sort(key=lambda c: (CHANGES.index(c.change), -rank(c.new_severity), c.finding_id))
    counts = Counter(change.change for change in changes)
    return Comparison(
        schema_version=1,
        old=audit_facts(old),
        new=audit_facts(new),
        same_prompts=same_prompts,
        warnings=_warnings(old, new, same_prompts),
        counts={name: counts[name] for name in CHANGES},
        changes=changes,
    )


def audit_facts(audit: Audit) -> dict[str, str]:
    """What names a run and its system."""
    summary = audit.summary
    return {
        "run_id": summary.run_id, "system": summary.system, "system_digest": summary.system_digest,
        "worst_severity": summary.worst_severity, "policy_sha256": summary.policy_sha256,
    }  # fmt: skip


def unlike_evaluators(audits: Sequence[Audit]) -> tuple[set[str], list[str]]:
    """Evaluators that are not the same in all audits, and a sentence for each of them.

    Raises:
        ValueError: there is none, so nothing can be compared.
    """
    versions = [audit.summary.evaluators for audit in audits]
    names = sorted({measure.scorer for audit in audits for measure in audit.context.run.measures})
    shared = {name for name in names if len({found.get(name) for found in versions}) == 1}
    if names and not shared:
        runs = ", ".join(str(audit.context.run.folder) for audit in audits)
        raise ValueError(
            f"{runs}: no evaluator ran in all of them in the same version, so no number can be compared; score the"
            " older runs again (audiolm-audit score), then build their reports"
        )
    unlike = [name for name in names if name not in shared]
    sentence = "Evaluator {} is not the same in all runs, so its measures are left out."
    return set(unlike), [sentence.format(isolate(name)) for name in unlike]


def _prompts_digest(audit: Audit) -> str:
    prompts = audit.context.run.info.get("prompts")
    return str(prompts.get("sha256") or "") if isinstance(prompts, Mapping) else ""


def _warnings(old: Audit, new: Audit, same_prompts: bool) -> list[str]:
    found = []
    before, after = old.summary.evaluators, new.summary.evaluators
    for name in sorted(set(before) & set(after)):
        if before[name] != after[name]:
            found.append(
                f"Evaluator {isolate(name)} is another one: version {before[name]}, now {after[name]}. Its numbers are"
                " not compared; score the old run again with audiolm-audit score."
            )
    for name in sorted(set(before) - set(after)):
        found.append(f"Evaluator {isolate(name)} ran in the old audit and not in the new one.")
    if old.summary.policy_sha256 != new.summary.policy_sha256:
        found.append("The two audits use different policies, so a severity can change while the number does not.")
    if old.summary.system != new.summary.system:
        found.append(f"The systems differ: {isolate(old.summary.system)} and {isolate(new.summary.system)}.")
    elif old.summary.system_digest and old.summary.system_digest == new.summary.system_digest:
        found.append("Both audits judge the same checkpoint.")
    if not same_prompts:
        found.append("The prompts are not the same list; differences are formed on the prompts that both runs share.")
    return found


def _change(name: str, old: Audit, new: Audit) -> FindingChange:
    before, after = old.findings.get(name), new.findings.get(name)
    either = after or before
    if either is None:
        raise ValueError(f"finding {name} stands in neither audit")
    estimate, method, why = _difference(before, after, old, new)
    change, reason = _verdict(before, after, estimate, why)
    return FindingChange(
        finding_id=name,
        section=either.section,
        change=change,  # type: ignore[arg-type]
        why=reason,
        old_severity=before.severity if before else "absent",
        new_severity=after.severity if after else "absent",
        old=before.estimate if before else None,
        new=after.estimate if after else None,
        difference=estimate.estimate if estimate else None,
        ci_low=estimate.ci_low if estimate and estimate.has_interval else None,
        ci_high=estimate.ci_high if estimate and estimate.has_interval else None,
        method=method,
        unit=either.unit,
    )


def _difference(
    before: FindingRow | None, after: FindingRow | None, old: Audit, new: Audit
) -> tuple[Estimate | None, str, str]:
    """New minus old with interval, how it was formed, and why there is none."""
    if before is None or after is None:
        return None, "", ""
    scorer = after.measure.partition("/")[0]
    versions = [audit.summary.evaluators.get(scorer) for audit in (old, new)]
    if versions[0] != versions[1]:
        return None, "", f"evaluator {scorer} is version {versions[1]} now and was {versions[0]}"
    if before.measure != after.measure or before.role != after.role:
        return None, "", f"it judges {after.measure} of {after.role or 'all'} now and judged {before.measure} before"
    parts = [paired_parts(audit.context, row) for audit, row in ((new, after), (old, before))]
    if parts[0] and parts[1]:
        signed = [*parts[0], *((-sign, frame) for sign, frame in parts[1])]
        found = signed_ratios(signed)
        if found.known and found.n_items:
            return found, f"paired on {found.n_items} shared prompts of {found.n_speakers} speakers", ""
    return _independent(before, after), "two independent intervals", ""


def _independent(before: FindingRow, after: FindingRow) -> Estimate:
    value = after.estimate - before.estimate
    if before.ci_low is None or before.ci_high is None or after.ci_low is None or after.ci_high is None:
        return Estimate(estimate=value, no_interval="no interval on one side")
    low = math.hypot(after.estimate - after.ci_low, before.ci_high - before.estimate)
    high = math.hypot(after.ci_high - after.estimate, before.estimate - before.ci_low)
    return Estimate(estimate=value, ci_low=value - low, ci_high=value + high, n_speakers=after.n_speakers)


def _verdict(
    before: FindingRow | None, after: FindingRow | None, estimate: Estimate | None, why: str
) -> tuple[str, str]:
    if before is None:
        return "new", "it was not measured in the old audit"
    if after is None:
        return "not comparable", "it is not measured in the new audit, which does not make it fixed"
    if estimate is None:
        return "not comparable", why
    if estimate.estimate == 0.0 and before.severity == after.severity:
        return "same", "the number is the same"
    if not estimate.has_interval:
        return "within noise", f"{estimate.no_interval or 'no interval'}, so a change is not established"
    if estimate.ci_low <= 0.0 <= estimate.ci_high:
        moved = before.severity != after.severity
        tail = "; the severity moved only because a threshold lies inside the noise" if moved else ""
        return "within noise", f"the interval of the difference includes zero{tail}"
    if after.direction not in ("above", "below"):
        return "changed", "the difference is established; this number has no better side"
    worse = (estimate.estimate > 0) == (after.direction == "above")
    bad_before, bad_after = rank(before.severity) > 0, rank(after.severity) > 0
    if worse:
        return ("new", "it now reaches a threshold") if bad_after and not bad_before else ("regressed", "it grew worse")
    return (
        ("fixed", "it no longer reaches a threshold")
        if bad_before and not bad_after
        else ("improved", "it grew better")
    )


def write_comparison(path: Path, comparison: Comparison) -> None:
    """``comparison.json``."""
    text = json.dumps(comparison.model_dump(), indent=1, ensure_ascii=True, allow_nan=False)
    write_whole(path, text + "\n")
