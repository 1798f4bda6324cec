"""Build findings and report of a finished run again, for instance after an upgrade or with another gate."""

from __future__ import annotations

import argparse
import json

from evaluation.audit import report_run
from evaluation.cli.print_pdf import print_pdf
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
    parser.add_argument("--policy", metavar="FILE", help="TOML file with your own thresholds, each with its source")
    parser.add_argument("--plan", metavar="FILE", help="plan.json of audiolm-audit plan; deviations are reported")
    parser.add_argument("--clips", type=int, metavar="N", help="clips that travel inside the page (default: 24)")
    parser.add_argument("--pdf", action="store_true", help="also print report.pdf, where Chromium is installed")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    RunFolder(args.run_folder).require()
    result = report_run(args.run_folder, gate=args.gate, policy=args.policy, plan=args.plan, clips=args.clips)
    pdf = print_pdf(result.report_path) if args.pdf else None
    if args.json:
        value = {
            "report": str(result.report_path),
            "worst_severity": result.worst_severity,
            "gate_hit": result.gate_hit,
            "pdf": str(pdf) if pdf else None,
        }
        print(json.dumps(value, sort_keys=True))
    else:
        print(f"worst finding: {result.worst_severity}")
        print(f"report: {result.report_path}")
        if pdf:
            print(f"pdf: {pdf}")
    return result.exit_code
