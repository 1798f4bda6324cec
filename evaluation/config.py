"""What a run is asked to do: everything that shapes its numbers, and nothing about where it is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from evaluation.records import CODEC_ROLES, DEFAULT_ROLES

__all__ = ["RENDERED_ROLES", "RunConfig", "canonical_json", "digest_of"]

RENDERED_ROLES = tuple(dict.fromkeys((*CODEC_ROLES, *DEFAULT_ROLES)))
"""Every role that a system can be asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Options of one run.

    ``prompts``: where utterances come from, or empty for an outside system's files; ``recorded``: that system's
    folder, or empty. ``seconds``: length of a continuation; ``prompt_s``: what the system may hear (3 s as in AudioLM,
    Borsos et al. 2023, section IV); ``max_seconds``: how much of a recording is read. ``scorers``: names, or
    empty for every one that is ready. ``roles``: what the system is asked for, or empty for the usual ones that it
    can make. Seeds of items derive from ``seed``.
    """

    prompts: str = ""
    recorded: str = ""
    split: str | None = None
    limit: int | None = None
    system: str = "audiolm"
    checkpoint: str = "nano"
    device: str = "cpu"
    seed: int = 0
    seconds: float = 4.0
    prompt_s: float = 3.0
    max_seconds: float = 12.0
    scorers: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.prompts) == bool(self.recorded):
            raise ValueError("give either prompts for our system or a folder of an outside system's files, not both")
        for name, low, high in (("seconds", 0.1, 120.0), ("prompt_s", 0.1, 60.0), ("max_seconds", 0.5, 600.0)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} is {value}; use {low} to {high} s")
        if self.max_seconds < self.prompt_s + 1.0:
            raise ValueError(f"max_seconds is {self.max_seconds}; use at least prompt_s + 1 = {self.prompt_s + 1} s")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"seed is {self.seed}; use 0 to 2**63 - 1")
        unknown = [role for role in self.roles if role not in RENDERED_ROLES]
        if unknown:
            raise ValueError(f"there is no role {unknown[0]!r} to be made; use some of {', '.join(RENDERED_ROLES)}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit is {self.limit}; keep at least 1 utterance")

    def as_dict(self) -> dict[str, object]:
        return {**asdict(self), "scorers": list(self.scorers), "roles": list(self.roles)}


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=_plain)


def digest_of(value: object) -> str:
    """SHA-256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if hasattr(value, "item"):
        return value.item()  # type: ignore[attr-defined]
    return str(value)
