"""Findings: a number, what it is held against, and how bad that is."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reports.estimates import Estimate, minimum_detectable
from reports.formats import number_text, with_interval
from reports.policy import Rule
from reports.whole_files import write_whole

__all__ = ["SEVERITIES", "Finding", "judge", "not_excluded", "note", "rank", "worst", "write_findings"]

SEVERITIES = ("info", "minor", "major", "blocking")
"""Mild to grave. ``info`` is a measured number that reaches no threshold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One row of the findings register.

    ``interval_note`` says why there is no interval where ``ci_low`` and ``ci_high`` are None; ``threshold`` is the
    limit the severity rests on, or the next one not reached; ``evidence`` holds item ids. ``ceiling`` and ``floor`` are
    the same number for the recordings and where nothing can be right; ``minimum_detectable`` is the smallest true
    effect that this many speakers show with 80 % probability; ``direction`` is that of the rule; ``role`` is what was
    judged and ``against`` what was subtracted from it on the same utterances.

    Raises:
        ValueError: no count, neither interval nor reason, no source for the threshold, unknown severity.
    """

    finding_id: str
    section: str
    severity: str
    statement: str
    measure: str
    estimate: float
    ci_low: float | None
    ci_high: float | None
    interval_note: str
    n_items: int
    n_speakers: int
    threshold: float | None
    threshold_source: str
    unit: str = ""
    evidence: tuple[str, ...] = ()
    ceiling: float | None = None
    floor: float | None = None
    minimum_detectable: float | None = None
    direction: str = ""
    role: str = ""
    against: str = ""

    def __post_init__(self) -> None:
        where = f"finding {self.finding_id}"
        if self.severity not in SEVERITIES:
            raise ValueError(f"{where}: severity {self.severity!r} is none of {', '.join(SEVERITIES)}")
        if self.n_items < 1:
            raise ValueError(f"{where}: counts no item; a finding needs at least one")
        if not math.isfinite(self.estimate):
            raise ValueError(f"{where}: the estimate is {self.estimate}; a finding needs a number")
        if (self.ci_low is None or self.ci_high is None) and not self.interval_note:
            raise ValueError(f"{where}: has neither an interval nor the reason why there is none")
        if not self.threshold_source:
            raise ValueError(f"{where}: names no source for its threshold")

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "evidence": list(self.evidence)}


def rank(severity: str) -> int:
    """Position among ``SEVERITIES``; -1 for anything else (``none``)."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1


def not_excluded(finding: Finding, rule: Rule | None) -> str:
    """The gravest severity whose threshold the finding's interval still reaches; ``unknown`` without an interval."""
    if rule is None or finding.ci_low is None or finding.ci_high is None:
        return "unknown"
    edge = finding.ci_high if rule.direction == "above" else finding.ci_low
    reached = _level(rule, edge)[0]
    if rule.cap and finding.role in rule.cap_roles and rank(reached) > rank(rule.cap):
        reached = rule.cap
    return max((reached, finding.severity), key=rank)


def worst(findings: Sequence[Finding]) -> str:
    """The gravest severity, ``none`` for no findings."""
    return max((finding.severity for finding in findings), key=rank, default="none")


def judge(
    rule: Rule,
    estimate: Estimate,
    *,
    what: str = "",
    measure: str,
    unit: str = "share",
    suffix: str = "",
    role: str = "",
    evidence: Sequence[str] = (),
    ceiling: Estimate | None = None,
    floor: Estimate | None = None,
    against: str = "",
) -> Finding:
    """Hold an estimate against a rule and say the outcome in one or two sentences.

    ``what`` replaces the rule's own name of the quantity; ``suffix`` tells several findings of one rule apart;
    ``role`` decides whether the rule's cap applies.
    """
    severity, threshold = _level(rule, estimate.estimate)
    notes = [_against(rule, severity, threshold, estimate, unit)]
    if rule.null is not None and severity != "info" and _includes(estimate, rule.null):
        severity = "info"
        why = (
            f"The interval includes {number_text(rule.null, unit)}" if estimate.has_interval else "There is no interval"
        )
        notes.append(f"{why}, so a gap is not established.")
    if rule.cap and role in rule.cap_roles and rank(severity) > rank(rule.cap):
        severity = rule.cap
        notes.append(f"Held at {rule.cap}: {rule.cap_reason}.")
    name = what or rule.quantity
    return Finding(
        finding_id=f"{rule.rule_id}{'/' + suffix if suffix else ''}",
        section=rule.section,
        severity=severity,
        statement=f"{name[:1].upper()}{name[1:]}: {with_interval(estimate, unit)}. {' '.join(notes)}",
        measure=measure,
        threshold=threshold,
        threshold_source=rule.source,
        unit=unit,
        evidence=tuple(evidence),
        ceiling=_value(ceiling),
        floor=_value(floor),
        direction=rule.direction,
        role=role,
        against=against,
        **_numbers(estimate),
    )


def note(
    finding_id: str, section: str, estimate: Estimate, *, statement: str, measure: str, unit: str,
    why_no_threshold: str, evidence: Sequence[str] = (), ceiling: Estimate | None = None,
    floor: Estimate | None = None, role: str = "", against: str = "",
) -> Finding:  # fmt: skip
    """A measured number that no rule judges: ``info``, with the reason why there is no threshold."""
    return Finding(
        finding_id=finding_id,
        section=section,
        severity="info",
        statement=statement,
        measure=measure,
        threshold=None,
        threshold_source=f"no threshold: {why_no_threshold}",
        unit=unit,
        evidence=tuple(evidence),
        ceiling=_value(ceiling),
        floor=_value(floor),
        role=role,
        against=against,
        **_numbers(estimate),
    )


def _value(estimate: Estimate | None) -> float | None:
    return estimate.estimate if estimate is not None and estimate.known else None


def _numbers(estimate: Estimate) -> dict[str, Any]:
    effect = minimum_detectable(estimate)
    return {
        "minimum_detectable": effect if effect == effect else None,
        "estimate": estimate.estimate,
        "ci_low": estimate.ci_low if estimate.has_interval else None,
        "ci_high": estimate.ci_high if estimate.has_interval else None,
        "interval_note": "" if estimate.has_interval else estimate.no_interval,
        "n_items": estimate.n_items,
        "n_speakers": estimate.n_speakers,
    }


def _beyond(rule: Rule, value: float, threshold: float) -> bool:
    return value > threshold if rule.direction == "above" else value < threshold


def _level(rule: Rule, value: float) -> tuple[str, float]:
    """The gravest level reached with its threshold; else ``info`` with the first one."""
    reached = ("info", rule.limits[0][1])
    for severity, threshold in rule.limits:
        if _beyond(rule, value, threshold):
            reached = (severity, threshold)
    return reached


def _includes(estimate: Estimate, value: float) -> bool:
    return not estimate.has_interval or estimate.ci_low <= value <= estimate.ci_high


def _against(rule: Rule, severity: str, threshold: float, estimate: Estimate, unit: str) -> str:
    limit = number_text(threshold, unit)
    if severity == "info":
        side = "at or below" if rule.direction == "above" else "at or above"
        text = f"This is {side} the first threshold of {limit}"
    else:
        text = f"This is {rule.direction} the {severity} threshold of {limit}"
    if estimate.has_interval and estimate.ci_low <= threshold <= estimate.ci_high:
        return f"{text}, but the interval includes it."
    return f"{text}."


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """``findings.json``: a list, strict JSON, the same bytes for the same findings."""
    rows = [finding.as_dict() for finding in findings]
    write_whole(path, json.dumps(rows, indent=1, ensure_ascii=True, allow_nan=False) + "\n")
