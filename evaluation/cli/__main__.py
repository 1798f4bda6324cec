"""``python -m evaluation.cli``: the console command without an installation."""

from __future__ import annotations

import sys

from evaluation.cli import main

sys.exit(main())
