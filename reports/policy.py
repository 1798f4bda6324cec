"""Thresholds as data: a TOML file in which every limit names its source."""

from __future__ import annotations

import difflib
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

__all__ = ["Assumption", "Policy", "Rule", "load_policy", "nearest", "shipped_policy_text"]

POLICY_VERSION = 1
MAX_POLICY_BYTES = 1 << 20
LARGEST = 1e300
LONGEST_SHOWN = 80
"""Characters of a wrong value that an error quotes."""
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
    shipped = _shipped()
    if path is None:
        return shipped
    try:
        if path.stat().st_size > MAX_POLICY_BYTES:
            raise ValueError(f"{path}: has more than {MAX_POLICY_BYTES:,} bytes; a policy is a short TOML file")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as a TOML policy ({error}); correct the file") from error
    own = _parse(str(path), text)
    for rule in own.rules.values():
        if rule.rule_id not in shipped.rules and not rule.measure:
            hint = nearest(rule.rule_id, shipped.rules)
            asked = f"{path}: no chapter asks rule {rule.rule_id[:LONGEST_SHOWN]!r}"
            raise ValueError(f"{asked}; {hint}, or give it a measure and a role")
    for kind, names, known in (
        ("assumption", own.assumptions, shipped.assumptions), ("quantity", own.quantities, shipped.quantities)
    ):  # fmt: skip
        for name in names:
            if name not in known:
                raise ValueError(f"{path}: nothing uses {kind} {name[:LONGEST_SHOWN]!r}; {nearest(name, known)}")
    return Policy(
        title=own.title,
        rules={**shipped.rules, **own.rules},
        assumptions={**shipped.assumptions, **own.assumptions},
        quantities={**shipped.quantities, **own.quantities},
        changed=_changes(shipped, own),
        text=text,
    )


@lru_cache(maxsize=1)
def _shipped() -> Policy:
    return _parse("policy.toml", shipped_policy_text())


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
    except (tomllib.TOMLDecodeError, RecursionError, OverflowError) as error:
        raise ValueError(f"{name}: cannot be read as a TOML policy ({error}); correct the file") from error
    if content.get("schema_version") != POLICY_VERSION:
        version = str(content.get("schema_version"))[:LONGEST_SHOWN]
        raise ValueError(f"{name}: schema_version is {version}; this version reads {POLICY_VERSION}")
    _known(name, content, {"schema_version", "title", "quantities", "rules", "assumptions"})
    rules, assumptions = _tables(name, "rules", content), _tables(name, "assumptions", content)
    quantities = content.get("quantities", {})
    if not isinstance(quantities, dict):
        raise ValueError(f"{name}: quantities is no table; write [quantities] and a list of measures per name")
    return Policy(
        title=_text(name, content, "title", name),
        rules={key: _rule(name, key, value) for key, value in rules.items()},
        assumptions={key: _assumption(name, key, value) for key, value in assumptions.items()},
        quantities={key: _texts(f"{name}: quantity {key[:LONGEST_SHOWN]}", quantities, key) for key in quantities},
        text=text,
    )


def _tables(name: str, kind: str, content: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The named tables below ``kind``."""
    value = content.get(kind, {})
    wrong = value if not isinstance(value, dict) else next((v for v in value.values() if not isinstance(v, dict)), None)
    if wrong is not None:
        raise ValueError(f"{name}: {kind} holds {str(wrong)[:LONGEST_SHOWN]!r}, not a table; write [{kind}.NAME]")
    return value


def _text(where: str, table: Mapping[str, Any], key: str, default: str = "") -> str:
    value = table.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"{where}: {key} is {str(value)[:LONGEST_SHOWN]}; write it in quotes")
    return value


def _texts(where: str, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError(f"{where}: {key} is {str(value)[:LONGEST_SHOWN]}; give a list of words in quotes")
    return tuple(value)


def _number(where: str, table: Mapping[str, Any], key: str) -> float:
    value = table.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
        raise ValueError(f"{where}: {key} is {str(value)[:LONGEST_SHOWN]}; give a number that is finite")
    return float(value)


def _known(where: str, table: Mapping[str, Any], allowed: set[str]) -> None:
    for key in table:
        if key not in allowed:
            near = difflib.get_close_matches(key, sorted(allowed), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; allowed are {', '.join(sorted(allowed))}"
            raise ValueError(f"{where}: unknown key {key[:LONGEST_SHOWN]!r}{hint}")


def _sourced(where: str, table: Mapping[str, Any]) -> str:
    source = _text(where, table, "source").strip()
    if not source:
        raise ValueError(f"{where}: has no source; say where the number comes from")
    return source


def _rule(name: str, rule_id: str, table: Mapping[str, Any]) -> Rule:
    where = f"{name}: rule {rule_id[:LONGEST_SHOWN]}"
    _known(where, table, RULE_KEYS)
    source = _sourced(where, table)
    if table.get("direction") not in ("above", "below"):
        raise ValueError(
            f"{where}: direction is {str(table.get('direction'))[:LONGEST_SHOWN]!r}; use 'above' or 'below'"
        )
    limits = tuple((level, _number(where, table, level)) for level in LEVELS if level in table)
    if not limits:
        raise ValueError(f"{where}: has no threshold; give minor, major or blocking")
    steps = [value for _, value in limits]
    if steps != sorted(steps, reverse=table["direction"] == "below"):
        raise ValueError(f"{where}: thresholds {steps} do not grow worse in the stated direction")
    return Rule(
        rule_id=rule_id,
        section=_text(where, table, "section"),
        quantity=_text(where, table, "quantity", rule_id),
        direction=table["direction"],
        source=source,
        limits=limits,
        null=_number(where, table, "null") if "null" in table else None,
        cap=_text(where, table, "cap"),
        cap_reason=_text(where, table, "cap_reason"),
        cap_roles=_texts(where, table, "cap_roles"),
        measure=_text(where, table, "measure"),
        role=_text(where, table, "role"),
        unit=_text(where, table, "unit", "share"),
    )


def _assumption(name: str, key: str, table: Mapping[str, Any]) -> Assumption:
    where = f"{name}: assumption {key[:LONGEST_SHOWN]}"
    _known(where, table, {"value", "unit", "source"})
    source = _sourced(where, table)
    return Assumption(name=key, value=_number(where, table, "value"), unit=_text(where, table, "unit"), source=source)
