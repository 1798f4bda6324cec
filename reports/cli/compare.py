"""Compare two audits: which findings are new, fixed or regressed, and which moved no more than noise."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from reports.compare import compare_runs, open_audit, write_comparison
from reports.comparison_page import write_comparison_page
from reports.findings import SEVERITIES, rank
from reports.formats import number_text, range_text
from reports.schemas import Comparison

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where a finding at or above the gate is new or regressed.

    Raises:
        ValueError: a folder is no run with a report.
    """
    parser = argparse.ArgumentParser(
        prog="audiolm-audit compare",
        description=__doc__,
        epilog="example:\n  audiolm-audit compare runs/first runs/second --out runs/compared",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("old", metavar="OLD", type=Path, help="run folder of the earlier audit")
    parser.add_argument("new", metavar="NEW", type=Path, help="run folder of the later audit")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="write comparison.json and comparison.html there")
    parser.add_argument(
        "--gate",
        choices=(*SEVERITIES, "never"),
        default="minor",
        help="exit 1 where a finding at least this grave is new or regressed (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    options = parser.parse_args(arguments)
    comparison = compare_runs(open_audit(options.old), open_audit(options.new))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        write_comparison(options.out / "comparison.json", comparison)
        write_comparison_page(options.out / "comparison.html", comparison)
    if options.json:
        print(json.dumps(comparison.model_dump(), sort_keys=True))
    else:
        _print(comparison, options.out)
    return 1 if _gate_hit(comparison, options.gate) else 0


def _gate_hit(comparison: Comparison, gate: str) -> bool:
    if gate == "never":
        return False
    return any(c.change in ("new", "regressed") and rank(c.new_severity) >= rank(gate) for c in comparison.changes)


def _print(comparison: Comparison, out: Path | None) -> None:
    for warning in comparison.warnings:
        print(f"note: {warning}")
    for one in comparison.changes:
        numbers = f"{number_text(one.old, one.unit)} -> {number_text(one.new, one.unit)}"
        if one.ci_low is not None and one.ci_high is not None:
            numbers += f", difference {range_text(one.ci_low, one.ci_high, one.unit)}"
        print(
            f"{one.change:<14}  {one.finding_id:<20}  {one.old_severity} -> {one.new_severity}  {numbers}  ({one.why})"
        )
    if out:
        print(f"page: {out / 'comparison.html'}")
