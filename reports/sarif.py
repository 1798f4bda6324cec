"""Findings as SARIF 2.1.0, the form that code-hosting sites and CI displays read (OASIS standard, 27 March 2020).

One rule per rule of the policy, one result per finding. Only what reaches a threshold has kind ``fail``; a measured
number that reaches none is a ``pass`` or, where no threshold exists, ``informational`` (sections 3.27.9 and 3.27.10).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from reports.context import Context
from reports.findings import Finding
from reports.formats import clean
from reports.policy import Rule
from reports.whole_files import write_whole

__all__ = ["LEVELS", "sarif_log", "write_sarif"]

LEVELS = {"minor": "warning", "major": "error", "blocking": "error"}
"""Severity to SARIF level; ``info`` has level ``none``."""

SCHEMA_URI = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"
BASE = "RUN"
MAX_EVIDENCE = 20


def write_sarif(path: Path, context: Context, version: str) -> None:
    """``findings.sarif`` beside ``findings.json``; the same bytes for the same findings."""
    log = sarif_log(context, version)
    write_whole(path, json.dumps(log, indent=1, ensure_ascii=True, allow_nan=False) + "\n")


def sarif_log(context: Context, version: str) -> dict[str, Any]:
    """The whole log: one run of one tool."""
    findings = sorted(context.findings, key=lambda finding: finding.finding_id)
    rule_ids = sorted({_rule_id(finding) for finding in findings})
    rules = [_rule(rule_id, context.policy.rules.get(rule_id), findings) for rule_id in rule_ids]
    paths = _paths(context)
    results = [_result(finding, rule_ids, paths, context.system) for finding in findings]
    run_id = clean(context.run.info.get("run_id", "run"))
    run = {
        "tool": {
            "driver": {
                "name": "audiolm-audit",
                "version": version,
                "shortDescription": {"text": "Safety audit of systems that make speech"},
                "rules": rules,
            }
        },
        "automationDetails": {"id": f"audiolm-audit/{clean(context.system) or 'system'}/{run_id}"},
        "invocations": [{"executionSuccessful": True, "commandLine": clean(context.run.info.get("command", ""))}],
        "originalUriBaseIds": {BASE: {"description": {"text": "The run folder, which holds this file."}}},
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    return {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": [run]}


def _rule_id(finding: Finding) -> str:
    return finding.finding_id.partition("/")[0]


def _rule(rule_id: str, rule: Rule | None, findings: Sequence[Finding]) -> dict[str, Any]:
    first = next(finding for finding in findings if _rule_id(finding) == rule_id)
    quantity = rule.quantity if rule else first.measure
    source = rule.source if rule else first.threshold_source
    limits = ", ".join(f"{level} {rule.direction} {value:g}" for level, value in rule.limits) if rule else "none"
    return {
        "id": rule_id,
        "name": "".join(word.capitalize() for word in first.section.split("_")) + rule_id.replace("-", ""),
        "shortDescription": {"text": clean(quantity)},
        "fullDescription": {"text": f"{clean(quantity)}. Thresholds: {limits}."},
        "help": {"text": f"Source of the threshold: {clean(source)}"},
        "defaultConfiguration": {"level": LEVELS.get(rule.limits[0][0], "note") if rule else "none"},
        "properties": {"tags": ["safety", first.section]},
    }


def _paths(context: Context) -> Mapping[str, str]:
    """Item id to the path of its clip, for the items some finding names as evidence."""
    wanted = {item for finding in context.findings for item in finding.evidence}
    items = context.run.generations
    rows = items.loc[items["item_id"].isin(wanted) & (items["status"] == "ok"), ["item_id", "audio_path"]]
    return {
        item: path
        for item, path in zip(rows["item_id"], rows["audio_path"], strict=True)
        if path and not path.startswith("/") and ".." not in Path(path).parts
    }


def _result(finding: Finding, rule_ids: Sequence[str], paths: Mapping[str, str], system: str) -> dict[str, Any]:
    failed = finding.severity in LEVELS
    kind = "fail" if failed else "pass" if finding.threshold is not None else "informational"
    evidence = [item for item in finding.evidence if item in paths][:MAX_EVIDENCE]
    rule_id = _rule_id(finding)
    properties = finding.as_dict()
    del properties["statement"], properties["evidence"]
    result = {
        "ruleId": rule_id,
        "ruleIndex": rule_ids.index(rule_id),
        "kind": kind,
        "level": LEVELS.get(finding.severity, "none"),
        "message": {"text": clean(finding.statement)},
        "locations": [_location("report.html", f"section {finding.section}", finding.section)],
        "partialFingerprints": {"finding/v1": _fingerprint(system, finding.finding_id)},
        "properties": properties,
    }
    if evidence:
        result["relatedLocations"] = [
            {"id": number, **_location(paths[item], clean(item), "")} for number, item in enumerate(evidence)
        ]
    return result


def _location(path: str, name: str, anchor: str) -> dict[str, Any]:
    uri = quote(path) + (f"#{anchor}" if anchor else "")
    return {
        "physicalLocation": {"artifactLocation": {"uri": uri, "uriBaseId": BASE}},
        "logicalLocations": [{"fullyQualifiedName": name, "kind": "section" if anchor else "item"}],
    }


def _fingerprint(system: str, finding_id: str) -> str:
    """The same finding of the same system in another run has the same fingerprint, so displays can follow it."""
    return hashlib.sha256(f"{system}\0{finding_id}".encode("utf-8", "surrogatepass")).hexdigest()
