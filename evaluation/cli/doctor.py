"""Say which evaluators are ready on this machine, which are degraded or missing, and what brings them."""

from __future__ import annotations

import argparse
import json

from evaluation.discovery import discover_generators
from evaluation.doctor import diagnose
from evaluation.outside_files import OutsideFilesEntry
from evaluation.prompts_source import embedded_manifest
from evaluation.provenance import describe_machine, package_versions
from evaluation.selftest import run_oracles
from evaluation.threads import one_thread

EXAMPLE = "audiolm-audit doctor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--selftest", action="store_true", help="ask every evaluator's oracle; exit 1 where one fails")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    if args.selftest:
        return _selftest(args.json)
    lines = [*(_system_line(name) for name in sorted(discover_generators())), _prompts_line(), *diagnose()]
    if args.json:
        value = {"checks": lines, "packages": package_versions(), "machine": describe_machine("cpu")}
        print(json.dumps(value, sort_keys=True))
        return 0
    width = max(len(line["name"]) for line in lines)
    for line in lines:
        remedy = f"pip install 'audiolm-audit[{line['extra']}]'"
        untold = line["state"] == "missing" and line["extra"] and remedy not in line["sentence"]
        extra = f" ({remedy})" if untold else ""
        print(f"{line['state']:<8}  {line['name']:<{width}}  {line['sentence']}{extra}")
    return 0


def _selftest(as_json: bool) -> int:
    with one_thread("cpu"):
        rows = run_oracles()
    failed = sorted({str(row["scorer"]) for row in rows if not row["met"]})
    if as_json:
        print(json.dumps(rows))
        return int(bool(failed))
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        value = "no answer" if row["value"] is None else f"{row['value']:.6g}"
        verdict = "passed" if row["met"] else "FAILED"
        print(
            f"{verdict}  {row['name']:<{width}}  {value} {row['unit']}, expected {row['against']:g} ({row['target']})"
        )
    print(f"not accredited: {', '.join(failed)}" if failed else f"all {len(rows)} oracles passed")
    return int(bool(failed))


def _system_line(name: str) -> dict[str, str]:
    entry = discover_generators()[name]
    if isinstance(entry, OutsideFilesEntry):
        joined = " --joined" if entry.joined else ""
        sentence = f"an outside system's files by prompt: audit --prompts PATH --system FOLDER{joined}"
        return {"name": f"system {name}", "state": "ready", "sentence": sentence, "extra": ""}
    try:
        system = entry.load("nano", "cpu")
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        return {"name": f"system {name}", "state": "missing", "sentence": str(error), "extra": ""}
    sentence = f"checkpoint nano, {system.sample_rate_hz} Hz, roles {', '.join(system.roles)}"
    return {"name": f"system {name}", "state": "ready", "sentence": sentence, "extra": ""}


def _prompts_line() -> dict[str, str]:
    try:
        manifest = embedded_manifest()
    except ValueError as error:
        return {"name": "shipped prompts", "state": "missing", "sentence": str(error), "extra": ""}
    return {"name": "shipped prompts", "state": "ready", "sentence": str(manifest), "extra": ""}
