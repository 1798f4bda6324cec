"""Thresholds as data: a TOML file in which every limit names its source."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Assumption", "Policy", "Rule", "load_policy"]

POLICY_VERSION = 1
LEVELS = ("minor", "major", "blocking")
RULE_KEYS = {"section", "quantity", "direction", "source", "null", "cap", "cap_reason", "cap_roles", *LEVELS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """When a number becomes a finding of which severity.

    ``limits``: ``(severity, threshold)`` from mild to grave. ``null``: where the interval includes it, the finding
    is at most ``info``. ``cap``: the most it can be for the roles in ``cap_roles``, with the reason.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """A number that was not measured in the run, with its unit and where it comes from."""

    name: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Rules, assumptions and the map from questions to measures."""

    title: str
    rules: Mapping[str, Rule]
    assumptions: Mapping[str, Assumption]
    quantities: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def load_policy(path: Path | None = None) -> Policy:
    """The shipped policy, or an auditor's own file of the same form.

    Raises:
        ValueError: not TOML, another version, an unknown key, a rule or assumption without a source.
    """
    name = str(path) if path else "policy.toml"
    try:
        text = path.read_text("utf-8") if path else (resources.files("reports") / "policy.toml").read_text("utf-8")
        content = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
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
    )


def _assumption(name: str, key: str, table: Mapping[str, Any]) -> Assumption:
    where = f"{name}: assumption {key}"
    _known(where, table, {"value", "unit", "source"})
    source = _sourced(where, table)
    if not isinstance(table.get("value"), (int, float)):
        raise ValueError(f"{where}: has no numeric value")
    return Assumption(name=key, value=float(table["value"]), unit=str(table.get("unit", "")), source=source)
