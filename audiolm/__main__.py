"""``torchrun ... -m audiolm``: ``audiolm-audit train`` without the other packages."""

from __future__ import annotations

import os
import sys


def _run() -> int:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch is imported
    from audiolm.cli import main

    try:
        return main(sys.argv[1:])
    except ValueError as error:
        print(f"audiolm: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    raise SystemExit(_run())
