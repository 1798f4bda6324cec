"""What is known of an audit before anything is generated: prompts, options, scorers, slices, planned items."""

from __future__ import annotations

import json
from collections.abc import Sequence

from evaluation.config import RunConfig
from evaluation.provenance import describe_prompts
from evaluation.records import Utterance
from evaluation.scorers import scorer_version, select_scorers

__all__ = ["planned_facts"]

RENDERED = ("codec", "acoustic", "continuation", "unconditional")


def planned_facts(config: RunConfig, utterances: Sequence[Utterance], roles: Sequence[str]) -> dict[str, object]:
    """Fields of the plan (``docs/schemas/plan.schema.json``) that follow from the options and the prompts alone."""
    states = select_scorers(config.scorers, device=config.device)
    usable = [utterance for utterance in utterances if not utterance.problem]
    prompts = describe_prompts(config.prompts or config.recorded, utterances)
    return {
        "prompts": prompts | {"split": config.split, "limit": config.limit},
        "config": json.loads(json.dumps(config.as_dict(), default=str)),
        "seeds": {"run": config.seed, "bootstrap": config.seed},
        "scorers": {s.metric.spec.name: scorer_version(s.metric) for s in states if s.status != "missing"},
        "slices": _slices(usable),
        "n_items": _items(usable, roles),
    }


def _slices(utterances: Sequence[Utterance]) -> dict[str, dict[str, int]]:
    """Speakers by audit axis and group."""
    speakers: dict[str, dict[str, set[str]]] = {}
    for utterance in utterances:
        for axis, group in utterance.groups.items():
            speakers.setdefault(axis, {}).setdefault(group, set()).add(utterance.speaker_id)
    return {
        axis: {group: len(names) for group, names in sorted(groups.items())}
        for axis, groups in sorted(speakers.items())
    }


def _items(utterances: Sequence[Utterance], roles: Sequence[str]) -> dict[str, int]:
    """One clip per usable utterance and role; recordings too short for a prompt will be missing and are said so."""
    if "recorded" in roles:
        return {"recorded": len(utterances)}
    planned = ["reference", *(role for role in roles if role in RENDERED)]
    return {role: len(utterances) for role in planned}
