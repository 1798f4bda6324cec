"""What a section sees: the run, the policy, look-ups by question, evidence clips and the findings so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import pandas as pd

from reports.artefacts import MeasureInfo, Run
from reports.audio_players import ClipDesk
from reports.estimates import Estimate, from_summary, item_ratios
from reports.findings import Finding
from reports.formats import clean, isolate
from reports.frames import column, rows_where
from reports.policy import Policy
from reports.schemas import Indicator, Plan

__all__ = ["GENERATED_ROLES", "ROLE_ORDER", "ROLE_TITLES", "Context", "Outcome"]

ROLE_ORDER = ("reference", "codec", "acoustic", "continuation", "unconditional", "recorded", "shuffled")
GENERATED_ROLES = ("continuation", "unconditional", "recorded", "acoustic")
"""Roles whose audio a system made, the first present one leads the risk chapters."""

ROLE_TITLES = {
    "reference": "recording (ceiling)",
    "codec": "recording through the codec",
    "acoustic": "true tokens, generated acoustics",
    "continuation": "continuation",
    "unconditional": "generated without a prompt",
    "recorded": "files of the outside system",
    "shuffled": "another speaker's continuation (floor)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a section fared: ``not_run`` is empty where it was built."""

    section_id: str
    title: str
    not_run: str


@dataclass(slots=True, kw_only=True)
class Context:
    """State of one build; sections read everything and add findings."""

    run: Run
    policy: Policy
    desk: ClipDesk
    findings: list[Finding] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    indicators: list[Indicator] = field(default_factory=list)
    plan: Plan | None = None
    deviations: list[str] = field(default_factory=list)
    system: str = field(init=False)
    """The system under audit: the one with most generated items."""
    _summary: dict[tuple[str, str], pd.DataFrame] = field(init=False)
    _items: dict[tuple[str, str, str], pd.DataFrame] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.system = _audited_system(self.run)
        summary = self.run.summary
        keys = dict.fromkeys(zip(summary["scorer"], summary["measure"], strict=True))
        self._summary = {
            key: rows_where(summary, (summary["scorer"] == key[0]) & (summary["measure"] == key[1])) for key in keys
        }

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles that have items, in the order of the page."""
        present = set(self.run.generations["role"])
        return tuple(role for role in ROLE_ORDER if role in present) + tuple(sorted(present - set(ROLE_ORDER)))

    def has_role(self, role: str) -> bool:
        return role in self.roles

    @property
    def generated_role(self) -> str:
        """The role the risk chapters judge; empty where nothing was generated."""
        return next((role for role in GENERATED_ROLES if self.has_role(role)), "")

    def rows_of(self, frame: pd.DataFrame, role: str) -> pd.DataFrame:
        """Rows of a role: those of the audited system, or all where the role belongs to none (recordings)."""
        rows = rows_where(frame, frame["role"] == role)
        own = rows_where(rows, rows["system"] == self.system)
        return own if len(own) else rows

    def items(self, measure: MeasureInfo, role: str) -> pd.DataFrame:
        """``item_ratios`` of a role: those of the audited system, or all where the role belongs to none."""
        key = (*measure.key, role)
        if key not in self._items:
            own = item_ratios(self.run, measure, role, self.system)
            self._items[key] = own if len(own) else item_ratios(self.run, measure, role)
        return self._items[key]

    def measures_for(self, quantity: str) -> tuple[MeasureInfo, ...]:
        """Measures that answer a question of the policy and have at least one value, patterns in their order."""
        patterns = self.policy.quantities.get(quantity, (quantity,))
        found: dict[tuple[str, str], MeasureInfo] = {}
        for pattern in patterns:
            for measure in self.run.measures:
                if fnmatchcase(f"{measure.scorer}/{measure.measure}", pattern) and self._has_values(measure):
                    found.setdefault(measure.key, measure)
        return tuple(found.values())

    def lead_measure(self, quantity: str) -> MeasureInfo | None:
        """The first of ``measures_for``: it carries the findings."""
        return next(iter(self.measures_for(quantity)), None)

    def _has_values(self, measure: MeasureInfo) -> bool:
        rows = self._summary.get(measure.key)
        if rows is not None and rows["estimate"].notna().any():
            return True
        names = (measure.numerator, measure.denominator) if measure.aggregate == "ratio_of_sums" else (measure.measure,)
        return any(
            self.run.score_rows(measure.scorer, name, role)["value"].notna().any()
            for name in names
            for role in self.roles
        )

    def estimate(
        self, measure: MeasureInfo, role: str, *, group_by: str = "all", group: str | None = None
    ) -> Estimate | None:
        """The summary's number for a role (and group); None where there is no row or no value."""
        rows = self._summary.get(measure.key)
        if rows is None:
            return None
        rows = self.rows_of(rows_where(rows, rows["group_by"] == group_by), role)
        if group is not None:
            rows = rows_where(rows, rows["group"] == group)
        if not len(rows):
            return None
        found = from_summary(rows.iloc[0], measure)
        return found if found.known else None

    def groups_of(self, group_by: str) -> tuple[str, ...]:
        """Values of an audit axis that items carry; unknown is left out."""
        return tuple(sorted({value for value in self.run.generations[f"group:{group_by}"] if value}))

    def items_in_group(self, group_by: str, group: str) -> set[str]:
        """Utterance ids of a group."""
        items = self.run.generations
        return set(items.loc[items[f"group:{group_by}"] == group, "utterance_id"])

    def why_absent(self, patterns: Sequence[str]) -> str:
        """What the run says about scorers that gave nothing: missing on that machine, or a reason per item."""
        found = []
        for entry in self.run.info.get("evaluators") or ():
            name = str(entry.get("name", "")) if isinstance(entry, Mapping) else ""
            if not any(fnmatchcase(name, pattern.partition("/")[0]) for pattern in patterns):
                continue
            scores = rows_where(
                self.run.scores, (self.run.scores["scorer"] == name) & (self.run.scores["reason"] != "")
            )
            reasons = Counter(column(scores, "reason").tolist()).most_common(1)
            if entry.get("status") == "missing":
                found.append(f"{isolate(name)} is missing: {clean(entry.get('sentence', ''))}")
            elif reasons:
                found.append(f"{isolate(name)}: {clean(reasons[0][0])}")
        return "".join(f"; {text.rstrip('.')}" for text in found)

    def add(self, *findings: Finding) -> None:
        """Put findings on the register; an id stays unique."""
        taken = {finding.finding_id for finding in self.findings}
        for finding in findings:
            if finding.finding_id in taken:
                raise ValueError(f"finding id {finding.finding_id} is used twice; give it a suffix")
            taken.add(finding.finding_id)
            self.findings.append(finding)

    def findings_of(self, section_id: str) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.section == section_id)


def _audited_system(run: Run) -> str:
    items = rows_where(run.generations, run.generations["role"].isin(GENERATED_ROLES))
    counts = Counter(column(items if len(items) else run.generations, "system").tolist())
    return min(counts, key=lambda name: (-counts[name], name), default="")
