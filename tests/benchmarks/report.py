"""The report of 5,000 items with 200 embedded clips and of 100,000 items: time, size, memory, Chromium, filter.

``python -m tests.benchmarks.report [--json]`` makes both run folders itself; ``--small RUN --large RUN`` takes others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from browser_pipe import PipedBrowser  # noqa: E402
from report_browser import CHROMIUM  # noqa: E402
from report_run_folder import RATE_HZ, ROLES, TinyRun  # noqa: E402

from reports.digests import file_digest  # noqa: E402
from tests.benchmarks.table import Row, finish, parser  # noqa: E402

BUILD = """
import sys; from pathlib import Path; from reports import build_report
build_report(Path(sys.argv[1]), clips=int(sys.argv[2]))
print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")][0])
"""
FILTER = """
const box = document.querySelector("#browser-search"), count = document.querySelector("#browser-count"), times = [];
for (const words of ["utt-1", "speaker-3 acoustic", "codec", "zzz", "2", ""]) {
  const began = performance.now();
  box.value = words; box.dispatchEvent(new Event("input")); count.getBoundingClientRect();
  times.push(performance.now() - began);
}
return times;
"""
CLIPS_PER_ROLE, CLIP_S, SEED = 60, 4.0, 3


def made(folder: Path, utterances: int) -> Path:
    """A finished run with five items per utterance; ``CLIPS_PER_ROLE`` clips stand for all of a role."""
    run = TinyRun(folder, speakers=50, per_speaker=utterances // 50)
    for item in run.items:
        item["audio_path"] = f"audio/{item['role']}/{int(item['utterance_id'][4:]) % CLIPS_PER_ROLE:02d}.wav"
    run.write(audio=False)
    rng = np.random.default_rng(SEED)
    for role in ROLES:
        (folder / "audio" / role).mkdir(parents=True, exist_ok=True)
        for number in range(CLIPS_PER_ROLE):
            noise = np.cumsum(rng.normal(0.0, 0.02, int(CLIP_S * RATE_HZ)))
            tone = np.diff(noise, prepend=0.0) * (1.0 + np.sin(np.arange(len(noise)) / 900.0))
            sf.write(folder / "audio" / role / f"{number:02d}.wav", tone, RATE_HZ, subtype="PCM_16")
    return folder


def measured(folder: Path, clips: int, limits: dict[str, float]) -> list[Row]:
    """Build twice, open, filter; ``limits``: what the issue allows, by unit of the row."""
    items = len(pd.read_parquet(folder / "generations.parquet", columns=["item_id"]))
    seconds, peaks, digests = [], [], []
    names = ("report.html", "findings.json", "summary.json", "findings.sarif", "digests.json")
    for _ in range(2):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", BUILD, str(folder), str(clips)], capture_output=True, text=True, check=True,
            env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )  # fmt: skip
        seconds.append(time.perf_counter() - began)
        peaks.append(int(done.stdout.split()[-1]) / 1e6)
        digests.append([file_digest(folder / name) for name in names])
    name = f"{items:,} items, {clips} clips embedded"
    size = (folder / "report.html").stat().st_size / 1e6
    same = float(digests[0] == digests[1])
    rows = [
        _row(f"{name}: build", min(seconds), "s", limits.get("build_s")),
        _row(f"{name}: most memory", max(peaks), "GB", limits.get("memory_gb")),
        _row(f"{name}: size of the page", size, "MB", limits.get("size_mb")),
        Row(name=f"{name}: two builds give the same bytes", value=same, unit="", target="1", met=bool(same)),
    ]
    if CHROMIUM is not None:
        with PipedBrowser(patience_s=240) as page:
            opened = page.open((folder / "report.html").resolve().as_uri())
            first, *times = page.run(FILTER)
        rows.append(_row(f"{name}: opens in Chromium", opened, "s", limits.get("open_s")))
        rows.append(_row(f"{name}: first filter, with the index", first, "ms", limits.get("filter_ms")))
        rows.append(_row(f"{name}: filter, slowest of the next five", max(times), "ms", limits.get("filter_ms")))
    return rows


def _row(name: str, value: float, unit: str, limit: float | None) -> Row:
    if limit is None:
        return Row(name=name, value=value, unit=unit)
    return Row(name=name, value=value, unit=unit, target=f"< {limit:g}", met=value < limit)


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--small", type=Path, help="a finished run of about 5,000 items")
    options.add_argument("--large", type=Path, help="a finished run of about 100,000 items")
    options.add_argument("--only", choices=("small", "large"))
    given = options.parse_args()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as work:
        if given.only != "large":
            small = given.small or made(Path(work) / "small", 1_000)
            rows += measured(
                small, 200, {"build_s": 30.0, "size_mb": 40.0, "open_s": 3.0, "filter_ms": 100.0}
            )  # fmt: skip
        if given.only != "small":
            large = given.large or made(Path(work) / "large", 20_000)
            rows += measured(large, 24, {"build_s": 120.0, "memory_gb": 2.0})
    if not given.json and CHROMIUM is None:
        print(json.dumps({"note": "no Chromium on this machine: opening and filtering were not measured"}))
    return finish(rows, given.json)


if __name__ == "__main__":
    sys.exit(main())
