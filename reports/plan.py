"""The plan of an audit: written before anything is generated, and held against what was done afterwards."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reports.artefacts import Run
from reports.estimates import power_factor
from reports.findings import Finding
from reports.formats import clean, isolate, number_text
from reports.policy import Policy, Rule, load_policy
from reports.schemas import FindingList, Plan, SampleSize
from reports.whole_files import write_whole

__all__ = ["PLAN", "POLICY", "deviations", "read_plan", "sample_sizes", "write_plan"]

PLAN = "plan.json"
POLICY = "policy.toml"
LARGEST_SHARE_SD = 0.5
"""No share has a larger spread between speakers than half of its range (Popoviciu 1935)."""
SHARE_RULES = frozenset({"DET-2", "DIS-2", "SOC-1", "ALG-2"})
"""Rules on a share of clips, for which that bound holds without a pilot."""
MOST_SPEAKERS = 100_000
UNPLANNED = ("prompts", "scorers")
"""Options that say where things lie or are compared by content instead."""


def write_plan(
    folder: Path, facts: Mapping[str, Any], *, policy: Path | None = None, pilot: Path | None = None
) -> tuple[Path, Plan]:
    """``plan.json`` and, for an auditor's own thresholds, ``policy.toml`` in a new or empty folder.

    ``facts``: what the harness found out about prompts, options, scorers and slices (fields of :class:`Plan`).
    ``pilot``: a finished run whose spread between speakers stands in for the one to come.

    Raises:
        ValueError: the folder holds something, the policy or the pilot cannot be used.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder}: is not empty; name a new folder for the plan")
    rules = load_policy(policy)
    speakers = int(facts["prompts"].get("n_speakers", 0))
    sizes = sample_sizes(rules, speakers, _pilot_spread(pilot) if pilot else {}, str(pilot or ""))
    plan = Plan(schema_version=1, policy_sha256=rules.sha256, sample_sizes=sizes, **facts)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PLAN
    write_whole(path, json.dumps(plan.model_dump(), indent=1, ensure_ascii=True) + "\n")
    write_whole(folder / POLICY, rules.text)
    return path, plan


def sample_sizes(policy: Policy, n_speakers: int, spread: Mapping[str, float], source: str) -> list[SampleSize]:
    """What each rule can resolve with so many speakers; ``spread``: standard deviation between speakers by rule."""
    found = []
    for rule in policy.rules.values():
        if rule.rule_id == "RUN-1":
            continue
        if rule.rule_id in spread:
            sd, basis = spread[rule.rule_id], f"pilot run {source}"
        elif rule.rule_id in SHARE_RULES:
            sd, basis = (
                LARGEST_SHARE_SD,
                "largest spread that a share can have (Popoviciu 1935); a pilot would lower it",
            )
        else:
            sd, basis = None, "no spread is known; name a finished run with --pilot"
        found.append(_size(rule, n_speakers, sd, basis))
    return found


def _size(rule: Rule, n_speakers: int, sd: float | None, basis: str) -> SampleSize:
    threshold = rule.limits[0][1]
    effect = None if sd is None or n_speakers < 2 else power_factor(n_speakers) * sd / math.sqrt(n_speakers)
    return SampleSize(
        rule=rule.rule_id,
        quantity=rule.quantity,
        unit="",
        n_speakers=n_speakers,
        speaker_sd=sd,
        sd_source=basis,
        minimum_detectable=effect,
        threshold=threshold,
        speakers_needed=None if sd is None or threshold <= 0 else _needed(sd, threshold),
    )


def _needed(sd: float, effect: float) -> int | None:
    """Fewest speakers whose minimum detectable effect is at most ``effect``."""
    low, high = 2, MOST_SPEAKERS
    if power_factor(high) * sd / math.sqrt(high) > effect:
        return None
    while low < high:
        middle = (low + high) // 2
        if power_factor(middle) * sd / math.sqrt(middle) <= effect:
            high = middle
        else:
            low = middle + 1
    return low


def _pilot_spread(run: Path) -> dict[str, float]:
    """Standard deviation between speakers of each finding of a finished run, from its minimum detectable effect."""
    path = Path(run) / "findings.json"
    try:
        rows = FindingList.model_validate_json(path.read_text(encoding="utf-8")).root
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"{path}: cannot serve as a pilot ({first}); name a run with a report") from error
    spread: dict[str, float] = {}
    for row in rows:
        unanimous = row.unit == "share" and row.estimate in (0.0, 1.0)  # a bound, which holds no spread
        if row.minimum_detectable is not None and row.n_speakers >= 2 and not unanimous:
            sd = row.minimum_detectable / power_factor(row.n_speakers) * math.sqrt(row.n_speakers)
            rule = row.finding_id.partition("/")[0]
            spread[rule] = max(sd, spread.get(rule, 0.0))
    return spread


def read_plan(path: Path) -> Plan | None:
    """The plan of a run folder; None where the audit had none.

    Raises:
        ValueError: it is no plan, or of another version.
    """
    if not path.is_file():
        return None
    try:
        return Plan.model_validate_json(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, ValidationError) as error:
        first = clean(" ".join(str(error).splitlines()[:3]))
        raise ValueError(f"{path}: is not a plan ({first}); write it with audiolm-audit plan") from error


def deviations(plan: Plan, run: Run, policy: Policy, findings: list[Finding]) -> list[str]:
    """Every way in which the run is not as planned, one sentence each; empty where it kept to the plan."""
    info = run.info
    found: list[str] = []
    created = str(info.get("created_utc") or "")
    if created and plan.made_utc > created:
        found.append(f"The plan was made at {plan.made_utc}, after generation began at {created}.")
    found += _different("Option", plan.config, _mapping(info.get("config")), skip=UNPLANNED)
    found += _different("Seed", plan.seeds, _mapping(info.get("seeds")))
    prompts = _mapping(info.get("prompts"))
    if plan.prompts.get("sha256") != prompts.get("sha256"):
        found.append(
            f"The prompts are others than planned: digest {str(prompts.get('sha256'))[:12]}, planned"
            f" {str(plan.prompts.get('sha256'))[:12]}."
        )
    if plan.policy_sha256 != policy.sha256:
        found.append(
            f"The policy is another than planned: digest {policy.sha256[:12]}, planned {plan.policy_sha256[:12]}."
        )
    return [*found, *_scorers(plan, info), *_slices(plan, run), *_items(plan, run), *_speakers(plan, findings)]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _different(kind: str, planned: Mapping[str, Any], done: Mapping[str, Any], skip: tuple[str, ...] = ()) -> list[str]:
    return [
        f"{kind} {name}: {isolate(done.get(name))}, planned {isolate(planned[name])}."
        for name in sorted(planned)
        if name not in skip and done.get(name) != planned[name]
    ]


def _scorers(plan: Plan, info: Mapping[str, Any]) -> list[str]:
    entries = [entry for entry in info.get("evaluators") or () if isinstance(entry, Mapping)]
    ran = {str(e.get("name")): str(e.get("version", "")) for e in entries if e.get("status") != "missing"}
    found = [f"Scorer {isolate(name)} was planned and did not run." for name in sorted(set(plan.scorers) - set(ran))]
    found += [f"Scorer {isolate(name)} ran and was not planned." for name in sorted(set(ran) - set(plan.scorers))]
    for name in sorted(set(ran) & set(plan.scorers)):
        if ran[name] != plan.scorers[name]:
            found.append(f"Scorer {isolate(name)} ran as version {ran[name]}, planned {plan.scorers[name]}.")
    return found


def _slices(plan: Plan, run: Run) -> list[str]:
    found = []
    items = run.generations
    for axis, groups in sorted(plan.slices.items()):
        if axis not in run.group_names:
            found.append(f"Slice {isolate(axis)} was planned and no item carries it.")
            continue
        ok = items[items["status"] == "ok"]
        speakers: dict[str, int] = ok.groupby(f"group:{axis}")["speaker_id"].nunique().to_dict()
        for group, planned in sorted(groups.items()):
            done = int(speakers.get(group, 0))
            if done != planned:
                found.append(
                    f"Slice {isolate(axis)} = {isolate(group)}: {done} speakers with a clip, planned {planned}."
                )
    return found


def _items(plan: Plan, run: Run) -> list[str]:
    ok = Counter(run.generations.loc[run.generations["status"] == "ok", "role"].tolist())
    return [
        f"Role {role}: {ok[role]:,} clips, planned {planned:,}."
        for role, planned in sorted(plan.n_items.items())
        if ok[role] != planned
    ]


def _speakers(plan: Plan, findings: list[Finding]) -> list[str]:
    planned = {size.rule: size for size in plan.sample_sizes}
    found = []
    for finding in findings:
        size = planned.get(finding.finding_id.partition("/")[0])
        if size is not None and finding.n_speakers < size.n_speakers:
            effect = finding.minimum_detectable
            tail = "" if effect is None else f"; it can show effects from {number_text(effect, finding.unit)}"
            found.append(
                f"Finding {isolate(finding.finding_id)} rests on {finding.n_speakers} speakers, planned"
                f" {size.n_speakers}{tail}."
            )
    return found
