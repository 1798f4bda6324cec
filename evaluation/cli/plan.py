"""Lay down what an audit will rest on before anything is generated: policy, prompts, slices, seeds, sample sizes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from evaluation.audit import plan_audit
from evaluation.cli.run_options import add_run_options, config_of

EXAMPLE = "audiolm-audit plan --limit 4 --out plans/first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_options(parser)
    parser.add_argument("--system", metavar="FOLDER", help="an outside system's files, judged as they are")
    parser.add_argument("--scorers", nargs="+", metavar="NAME", help="only these; default: all that are ready")
    parser.add_argument(
        "--policy", metavar="FILE", help="TOML file with your own thresholds; default: the shipped ones"
    )
    parser.add_argument("--pilot", metavar="RUN", help="a finished run whose spread between speakers is expected again")
    parser.add_argument("--title", default="", help="what the audit is for, in your words")


def run(args: argparse.Namespace) -> int:
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


def _line(size: Mapping[str, Any]) -> str:
    effect, needed = size["minimum_detectable"], size["speakers_needed"]
    if effect is None:
        return f"{size['rule']}: {size['quantity']}: smallest effect unknown: {size['sd_source']}"
    need = f"; {needed} speakers for its threshold of {size['threshold']:g}" if needed else ""
    return f"{size['rule']}: {size['quantity']}: smallest effect {effect:.3g} with {size['n_speakers']} speakers{need}"
