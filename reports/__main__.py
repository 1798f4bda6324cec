"""``python -m reports RUN``: make the report of a finished run folder again."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from reports.build import build_report
from reports.findings import SEVERITIES


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0; 1 where a finding reaches the gate; 2 for a run folder that cannot be read."""
    parser = argparse.ArgumentParser(
        prog="python -m reports",
        description="Write report.html and findings.json into a finished run folder.",
        epilog="example: python -m reports runs/first --gate major",
    )
    parser.add_argument("run", type=Path, help="the folder that holds run.json")
    parser.add_argument("--gate", choices=(*SEVERITIES, "never"), default="major", help="exit 1 from this severity on")
    parser.add_argument("--policy", type=Path, help="TOML file with your own thresholds")
    options = parser.parse_args(arguments)
    try:
        result = build_report(options.run, gate=options.gate, policy=options.policy)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(result.report_path)
    print(f"worst finding: {result.worst_severity}")
    return 1 if result.gate_hit else 0


if __name__ == "__main__":
    sys.exit(main())
