"""Inspect prompts before a run: what the reader finds, and every row that cannot be used."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from audiolm.audio import AudioError, probe
from evaluation.manifest import prompts_origin, read_utterances
from evaluation.prompts_source import embedded_manifest
from evaluation.records import Utterance

EXAMPLE = "audiolm-audit data"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prompts", nargs="?", metavar="PATH", help="manifest, corpus tree or folder; default: the shipped prompts"
    )
    parser.add_argument("--split", help="keep the rows whose column split equals this")
    parser.add_argument("--limit", type=int, metavar="N", help="keep N utterances, speakers taking turns")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    source = args.prompts or embedded_manifest()
    utterances = [_probed(one) for one in read_utterances(source, split=args.split, limit=args.limit)]
    facts = _facts(utterances)
    if args.json:
        print(json.dumps({"source": str(source), **facts}, sort_keys=True))
    else:
        _print(str(source), facts)
    return 0


def _probed(utterance: Utterance) -> Utterance:
    """The utterance with the duration its file's header declares, or with the problem of its file."""
    if utterance.problem:
        return utterance
    try:
        return replace(utterance, duration_s=probe(utterance.audio_path).duration_s)
    except (AudioError, OSError) as error:
        where = f"row {utterance.row}: " if utterance.row is not None else ""
        return replace(utterance, problem=f"{where}{error}")


def _facts(utterances: Sequence[Utterance]) -> dict[str, object]:
    usable = [utterance for utterance in utterances if not utterance.problem]
    names = sorted({name for utterance in usable for name in utterance.groups})
    return {
        "utterances": len(utterances),
        "usable": len(usable),
        "hours": round(sum(utterance.duration_s or 0.0 for utterance in usable) / 3600, 3),
        "speakers": len({utterance.speaker_id for utterance in usable if utterance.speaker_id}),
        "without_speaker": sum(not utterance.speaker_id for utterance in usable),
        "with_transcript": sum(utterance.transcript is not None for utterance in usable),
        "origin": prompts_origin(utterances),
        "splits": dict(sorted(Counter(utterance.split for utterance in usable).items())),
        "licences": dict(sorted(Counter(utterance.licence or "unstated" for utterance in usable).items())),
        "groups": {
            name: dict(sorted(Counter(u.groups[name] for u in usable if name in u.groups).items())) for name in names
        },
        "problems": [utterance.problem for utterance in utterances if utterance.problem],
    }


def _print(source: str, facts: dict[str, object]) -> None:
    print(source)
    for name, value in facts.items():
        if name == "problems":
            continue
        if isinstance(value, dict):
            shown = "; ".join(f"{key or '(none)'} {count}" for key, count in value.items())
            print(f"  {name.replace('_', ' ')}: {shown or 'none'}")
        else:
            print(f"  {name.replace('_', ' ')}: {value}")
    problems = facts["problems"]
    if isinstance(problems, list):
        print(f"  problems: {len(problems)}")
        for problem in problems:
            print("    " + problem.replace("\n", "\\n"))
