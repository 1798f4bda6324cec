"""Thresholds as data: a TOML file in which every limit names its source."""

from __future__ import annotations

import difflib
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

__all__ = ["Assumption", "Policy", "Rule", "load_policy", "nearest", "shipped_policy_text"]

POLICY_VERSION = 1
LEVELS = ("minor", "major", "blocking")
RULE_KEYS = {
    "section", "quantity", "direction", "source", "null", "cap", "cap_reason", "cap_roles", "measure", "role", "unit",
    *LEVELS,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a number becomes a finding of which severity.

    ``limits``: ``(severity, threshold)`` from mild to grave. ``null``: where the interval includes it, the finding
    is at most ``info``. ``cap``: the most it can be for the roles in ``cap_roles``, with the reason. ``measure``
    (``scorer/measure``) and ``role``: only in rules that the auditor adds, which judge one number of the summary table.
    ``unit``: that of the limits.
    """

    rule_id: str
    section: str
    quantity: str
    direction: str
    source: str
    limits: tuple[tuple[str, float], ...]
    null: float | None = None
    cap: str = ""
    cap_reason: str = ""
    cap_roles: tuple[str, ...] = ()
    measure: str = ""
    role: str = ""
    unit: str = "share"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A number that was not measured in the run, with its unit and where it comes from."""

    name: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules, assumptions and the map from questions to measures.

    ``changed`` names what an auditor's own file adds to or changes in the shipped policy; ``text`` is that file.
    """

    title: str
    rules: Mapping[str, Rule]
    assumptions: Mapping[str, Assumption]
    quantities: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    text: str = ""

    @property
    def sha256(self) -> str:
        """Digest of everything that decides a severity, whatever the order and the comments of the file."""
        content = {
            "rules": {key: asdict(rule) for key, rule in self.rules.items()},
            "assumptions": {key: asdict(entry) for key, entry in self.assumptions.items()},
            "quantities": {key: list(patterns) for key, patterns in self.quantities.items()},
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def shipped_policy_text() -> str:
    """The policy that comes with this package, as TOML."""
    return (resources.files("reports") / "policy.toml").read_text("utf-8")


def load_policy(path: Path | None = None) -> Policy:
    """The shipped policy, or that policy with what an auditor's own file changes.

    Raises:
        ValueError: not TOML, another version, an unknown key, a rule or assumption without a source or of a name
            that nothing uses.
    """
    shipped = _parse("policy.toml", shipped_policy_text())
    if path is None:
        return shipped
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as a TOML policy ({error}); correct the file") from error
    own = _parse(str(path), text)
    for rule in own.rules.values():
        if rule.rule_id not in shipped.rules and not rule.measure:
            hint = nearest(rule.rule_id, shipped.rules)
            raise ValueError(f"{path}: no chapter asks rule {rule.rule_id!r}; {hint}, or give it a measure and a role")
    for kind, names, known in (
        ("assumption", own.assumptions, shipped.assumptions), ("quantity", own.quantities, shipped.quantities)
    ):  # fmt: skip
        for name in names:
            if name not in known:
                raise ValueError(f"{path}: nothing uses {kind} {name!r}; {nearest(name, known)}")
    return Policy(
        title=own.title,
        rules={**shipped.rules, **own.rules},
        assumptions={**shipped.assumptions, **own.assumptions},
        quantities={**shipped.quantities, **own.quantities},
        changed=_changes(shipped, own),
        text=text,
    )


def _changes(shipped: Policy, own: Policy) -> tuple[str, ...]:
    pairs = ((shipped.rules, own.rules), (shipped.assumptions, own.assumptions), (shipped.quantities, own.quantities))
    return tuple(name for known, mine in pairs for name in mine if known.get(name) != mine[name])


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean ...`` for a mistyped name, else the names there are."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names[:12])}"


def _parse(name: str, text: str) -> Policy:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{name}: cannot be read as a TOML policy ({error}); correct the file") from error
    if content.get("schema_version") != POLICY_VERSION:
        raise ValueError(
            f"{name}: schema_version is {content.get('schema_version')!r}; this version reads {POLICY_VERSION}"
        )
    _known(name, content, {"schema_version", "title", "quantities", "rules", "assumptions"})
    return Policy(
        title=str(content.get("title", name)),
        rules={key: _rule(name, key, value) for key, value in content.get("rules", {}).items()},
        assumptions={key: _assumption(name, key, value) for key, value in content.get("assumptions", {}).items()},
        quantities={key: tuple(value) for key, value in content.get("quantities", {}).items()},
        text=text,
    )


def _known(where: str, table: Mapping[str, Any], allowed: set[str]) -> None:
    for key in table:
        if key not in allowed:
            near = difflib.get_close_matches(key, sorted(allowed), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; allowed are {', '.join(sorted(allowed))}"
            raise ValueError(f"{where}: unknown key {key!r}{hint}")


def _sourced(where: str, table: Mapping[str, Any]) -> str:
    source = str(table.get("source", "")).strip()
    if not source:
        raise ValueError(f"{where}: has no source; say where the number comes from")
    return source


def _rule(name: str, rule_id: str, table: Mapping[str, Any]) -> Rule:
    where = f"{name}: rule {rule_id}"
    _known(where, table, RULE_KEYS)
    source = _sourced(where, table)
    if table.get("direction") not in ("above", "below"):
        raise ValueError(f"{where}: direction is {table.get('direction')!r}; use 'above' or 'below'")
    limits = tuple((level, float(table[level])) for level in LEVELS if level in table)
    if not limits:
        raise ValueError(f"{where}: has no threshold; give minor, major or blocking")
    steps = [value for _, value in limits]
    if steps != sorted(steps, reverse=table["direction"] == "below"):
        raise ValueError(f"{where}: thresholds {steps} do not grow worse in the stated direction")
    return Rule(
        rule_id=rule_id,
        section=str(table.get("section", "")),
        quantity=str(table.get("quantity", rule_id)),
        direction=table["direction"],
        source=source,
        limits=limits,
        null=None if table.get("null") is None else float(table["null"]),
        cap=str(table.get("cap", "")),
        cap_reason=str(table.get("cap_reason", "")),
        cap_roles=tuple(table.get("cap_roles", ())),
        measure=str(table.get("measure", "")),
        role=str(table.get("role", "")),
        unit=str(table.get("unit", "share")),
    )


def _assumption(name: str, key: str, table: Mapping[str, Any]) -> Assumption:
    where = f"{name}: assumption {key}"
    _known(where, table, {"value", "unit", "source"})
    source = _sourced(where, table)
    if not isinstance(table.get("value"), (int, float)):
        raise ValueError(f"{where}: has no numeric value")
    return Assumption(name=key, value=float(table["value"]), unit=str(table.get("unit", "")), source=source)
