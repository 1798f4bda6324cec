"""Say of a run folder whether any file was changed since its report was built."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from reports.digests import verify_run

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 for an unchanged folder, 1 with one line per file that is not as it was.

    Raises:
        ValueError: no digests to compare with.
    """
    parser = argparse.ArgumentParser(
        prog="audiolm-audit verify",
        description=__doc__,
        epilog="example:\n  audiolm-audit verify runs/first\n\nexit codes: 0 unchanged, 1 changed, 2 no digests",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder that audit wrote")
    parser.add_argument("--root", metavar="SHA256", help="the root that was kept elsewhere; must be that of the list")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    options = parser.parse_args(arguments)
    if not options.run_folder.is_dir():
        raise ValueError(f"{options.run_folder}: is not a run folder; name the folder that holds digests.json")
    stored, differences = verify_run(options.run_folder)
    other_root = bool(options.root) and options.root.lower() != stored.root
    if options.json:
        rows = [{"path": one.path, "what": one.what, "detail": one.detail} for one in differences]
        value = {"root": stored.root, "root_matches": not other_root, "files": len(stored.files), "differences": rows}
        print(json.dumps(value, sort_keys=True))
    else:
        for one in differences:
            print(one)
        if other_root:
            print(f"changed: digests.json (root {stored.root[:12]}…, you named {options.root[:12]}…)")
        if not differences and not other_root:
            print(f"unchanged: {len(stored.files):,} files, root {stored.root}")
    return 1 if differences or other_root else 0
