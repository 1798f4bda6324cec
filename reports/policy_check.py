"""Names in an auditor's policy that no measure of the run bears are refused, with the nearest name that one does."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase

from reports.artefacts import Run
from reports.policy import Policy, load_policy, nearest

__all__ = ["check_measures"]


def check_measures(policy: Policy, run: Run, name: str) -> None:
    """Check the measures that a policy adds to the shipped one.

    Raises:
        ValueError: a rule or quantity names a measure that the run cannot have.
    """
    if not policy.changed:
        return
    shipped = load_policy()
    measures = {f"{measure.scorer}/{measure.measure}" for measure in run.measures}
    absent = {
        str(entry.get("name", ""))
        for entry in run.info.get("evaluators") or ()
        if isinstance(entry, Mapping) and entry.get("status") == "missing"
    }
    expected = {pattern for patterns in shipped.quantities.values() for pattern in patterns}
    for key, patterns in policy.quantities.items():
        for pattern in patterns:
            scorer = pattern.partition("/")[0]
            if pattern in expected or scorer in absent or any(fnmatchcase(one, pattern) for one in measures):
                continue
            raise ValueError(f"{name}: quantity {key}: no measure is called {pattern!r}; {nearest(pattern, measures)}")
    for rule in policy.rules.values():
        if rule.measure and rule.measure not in measures and rule.measure.partition("/")[0] not in absent:
            raise ValueError(
                f"{name}: rule {rule.rule_id}: no measure is called {rule.measure!r}; {nearest(rule.measure, measures)}"
            )
        roles = set(run.generations["role"])
        if rule.measure and rule.role not in roles:
            raise ValueError(
                f"{name}: rule {rule.rule_id}: role {rule.role!r} has no item in this run; {nearest(rule.role, roles)}"
            )
