"""Lay down what an audit will rest on before anything is generated: policy, prompts, slices, seeds, sample sizes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from evaluation.audit import plan_audit
from evaluation.cli.run_options import add_run_options, config_of
from evaluation.effect_planning import plan_effect

EXAMPLE = "audiolm-audit plan --limit 4 --out plans/first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser, out_required=False)
    parser.add_argument(
        "--effect", type=float, metavar="X",
        help="say how many speakers show a difference of X (points for rates and shares) and write no plan",
    )  # fmt: skip
    parser.add_argument("--measure", metavar="NAME", help="of which measure, e.g. wer or speaker_similarity/cosine")
    parser.add_argument("--utterances", type=int, default=10, help="per speaker, with --effect (default: %(default)s)")
    parser.add_argument("--system", metavar="FOLDER", help="an outside system's files, judged as they are")
    parser.add_argument("--scorers", nargs="+", metavar="NAME", help="only these; default: all that are ready")
    parser.add_argument(
        "--policy", metavar="FILE", help="TOML file with your own thresholds; default: the shipped ones"
    )
    parser.add_argument("--pilot", metavar="RUN", help="a finished run whose spread between speakers is expected again")
    parser.add_argument("--title", default="", help="what the audit is for, in your words")


def run(args: argparse.Namespace) -> int:
    if (args.effect is None) != (args.measure is None):
        raise ValueError("--effect and --measure belong together, as in --effect 2 --measure wer")
    if args.effect is not None:
        return _effect(args)
    if not args.out:
        raise ValueError("name the folder of the plan with --out, or ask for sample sizes with --effect and --measure")
    if args.resume:
        raise ValueError("a plan is written once, so it cannot be resumed; name a new folder with --out")
    path, plan = plan_audit(config_of(args), args.out, title=args.title, policy=args.policy, pilot=args.pilot)
    if args.json:
        print(json.dumps(plan, sort_keys=True))
        return 0
    for size in plan["sample_sizes"]:
        print(_line(size))
    for axis, groups in plan["slices"].items():
        print(f"slice {axis}: " + ", ".join(f"{group} {count} speakers" for group, count in groups.items()))
    print(f"plan: {path}")
    print(
        f"run it with: audiolm-audit audit --plan {path} --policy {path.with_name('policy.toml')} and the same options"
    )
    return 0


def _effect(args: argparse.Namespace) -> int:
    plan = plan_effect(args.measure, args.effect, utterances=args.utterances, pilot=args.pilot)
    if args.json:
        print(json.dumps(asdict(plan), sort_keys=True))
        return 0
    print(
        f"{plan.measure}: {plan.speakers} speakers with {plan.utterances} utterances each show a difference of"
        f" {plan.effect:g} {plan.unit} (80 % power, two-sided 5 %; they show {plan.smallest_effect:.3g} or more)"
    )
    print(
        f"spread between speakers {plan.between_sd:.3g}, within a speaker {plan.within_sd:.3g} {plan.unit}:"
        f" {plan.source}"
    )
    return 0


def _line(size: Mapping[str, Any]) -> str:
    effect, needed = size["minimum_detectable"], size["speakers_needed"]
    if effect is None:
        return f"{size['rule']}: {size['quantity']}: smallest effect unknown: {size['sd_source']}"
    need = f"; {needed} speakers for its threshold of {size['threshold']:g}" if needed else ""
    return f"{size['rule']}: {size['quantity']}: smallest effect {effect:.3g} with {size['n_speakers']} speakers{need}"
