"""An atheris run of one reader: ``python tests/fuzz/fuzz_NAME.py --minutes 15 --finds runs/finds``.

Prints one row: executions, minutes, finds, peak memory. A find is kept as a file; put a small one of each cause under
``tests/fuzz/cases/NAME/``, where ``make test`` replays it. Needs ``pip install atheris``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S, TIMEOUT_S, RSS_LIMIT_MB = 10.0, 300, 2_048
"""An input may take ``LIMIT_S`` of processor time; libFuzzer ends what does not come back by the clock."""

__all__ = ["fuzz"]


def fuzz(name: str) -> None:
    """Fuzz the reader ``name``; libFuzzer ends the process at the first find or when the time is over."""
    atheris: Any = importlib.import_module("atheris")

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--finds", type=Path, default=Path("runs") / "finds", help="folder for inputs that break it")
    parser.add_argument("--corpus", type=Path, help="folder in which the fuzzer's own corpus is kept between runs")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    with atheris.instrument_imports(include=_instrumented(name)):
        for module in _instrumented(name):
            try:
                importlib.import_module(module)
            except ImportError:
                continue
        from readers import READERS
    reader = READERS[name]
    finds = args.finds / name
    finds.mkdir(parents=True, exist_ok=True)
    corpus = args.corpus or Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(reader.seeds()):
        (corpus / f"seed-{number:02d}").write_bytes(seed)
    shared = Path("/dev/shm")
    scratch = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-", dir=shared if shared.is_dir() else None))

    def one_input(data: bytes) -> None:
        for left in scratch.iterdir():
            left.unlink()
        begun = time.process_time()
        reader.run(data, scratch)
        if (spent := time.process_time() - begun) > LIMIT_S:
            raise RuntimeError(f"an input took {spent:.1f} s of processor time; at most {LIMIT_S:g} s are allowed")

    reader.run(reader.seeds()[0], scratch)  # what it imports at its first call is not the first input's time

    options = [
        f"-max_total_time={round(60 * args.minutes)}", f"-max_len={reader.max_bytes}", f"-timeout={TIMEOUT_S}",
        f"-rss_limit_mb={RSS_LIMIT_MB}", f"-artifact_prefix={finds}/", f"-seed={args.seed}", "-print_final_stats=1",
    ]  # fmt: skip
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    atheris.Setup([sys.argv[0], *options, str(corpus)], one_input)
    atheris.Fuzz()


def _instrumented(name: str) -> list[str]:
    sys.path.insert(0, str(Path(__file__).parent))
    from readers import READERS

    return list(READERS[name].instrument)
