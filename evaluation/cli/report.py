"""Build findings and report of a finished run again, for instance after an upgrade or with another gate."""

from __future__ import annotations

import argparse
import json

from evaluation.audit import report_run
from evaluation.run_folder import RunFolder

EXAMPLE = "audiolm-audit report runs/first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", metavar="RUN", help="folder that audit wrote")
    parser.add_argument(
        "--gate",
        default="never",
        choices=("info", "minor", "major", "blocking", "never"),
        help="exit with 1 when a finding is at least this grave (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    RunFolder(args.run_folder).require()
    result = report_run(args.run_folder, gate=args.gate)
    if args.json:
        value = {
            "report": str(result.report_path),
            "worst_severity": result.worst_severity,
            "gate_hit": result.gate_hit,
        }
        print(json.dumps(value, sort_keys=True))
    else:
        print(f"worst finding: {result.worst_severity}")
        print(f"report: {result.report_path}")
    return result.exit_code
