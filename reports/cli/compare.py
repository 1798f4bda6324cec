"""Two audits: findings new, fixed, regressed or within noise. More: a table of systems with rank intervals."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from reports.compare import Audit, compare_runs, open_audit, write_comparison
from reports.comparison_page import write_comparison_page
from reports.findings import SEVERITIES, rank
from reports.formats import number_text, range_text
from reports.ranking import rank_audits, write_ranking
from reports.ranking_page import write_ranking_page
from reports.schemas import Comparison

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where two audits are given and a finding at or above the gate is new or regressed.

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
    parser.add_argument(
        "runs", metavar="RUN", type=Path, nargs="+", help="run folders: the older and the newer, or more"
    )
    parser.add_argument("--rank", action="store_true", help="rank two systems too, instead of old against new")
    parser.add_argument("--out", metavar="FOLDER", type=Path, help="write comparison.html and its JSON there")
    parser.add_argument(
        "--gate",
        choices=(*SEVERITIES, "never"),
        default="minor",
        help="exit 1 where a finding at least this grave is new or regressed (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")
    options = parser.parse_args(arguments)
    if len(options.runs) < 2:
        raise ValueError(f"{options.runs[0]}: is the only run named; name the older and the newer one, or more")
    audits = [open_audit(folder) for folder in options.runs]
    if len(audits) > 2 or options.rank:
        return _ranked(audits, options.out, options.json)
    comparison = compare_runs(*audits)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        write_comparison(options.out / "comparison.json", comparison)
        write_comparison_page(options.out / "comparison.html", comparison)
    if options.json:
        print(json.dumps(comparison.model_dump(), sort_keys=True))
    else:
        _print(comparison, options.out)
    return 1 if _gate_hit(comparison, options.gate) else 0


def _ranked(audits: Sequence[Audit], out: Path | None, as_json: bool) -> int:
    ranking = rank_audits(audits)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        write_ranking(out / "ranking.json", ranking)
        write_ranking_page(out / "comparison.html", ranking)
    if as_json:
        print(json.dumps(ranking.model_dump(), sort_keys=True))
        return 0
    for warning in ranking.warnings:
        print(f"note: {warning}")
    for table in ranking.tables:
        print(f"{table.title}, {table.role} ({table.better} is better, {table.n_prompts} shared prompts)")
        for one in table.systems:
            interval = "no interval"
            if one.ci_low is not None and one.ci_high is not None:
                interval = range_text(one.ci_low, one.ci_high, table.unit)
            place, value = f"{one.rank_low} to {one.rank_high}", number_text(one.estimate, table.unit)
            print(f"  rank {place}  {one.run_id}  {value}, {interval}")
    if out:
        print(f"page: {out / 'comparison.html'}")
    return 0


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
