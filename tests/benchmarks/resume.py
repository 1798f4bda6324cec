"""Every part of an AudioLM trained from an empty folder, killed twice and resumed: is the log that of a quiet run?

    python -m tests.benchmarks.resume --out FOLDER [--data ../shared/corpus/manifest.csv] [--steps 8] [--json]

Two trainings of a few steps by ``train all`` on a dozen recordings, as a user starts them. One is left alone. The other
gets ``kill -9`` in the midst of every part, then, after ``--resume``, SIGTERM in the same part, and goes on by the same
command. Logs are compared value by value, exported weights byte by byte. Two or three minutes of one core; stopped
itself, it goes on where it was when run again with the same folder.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from audiolm.presets import load_preset
from audiolm.training_log import read_log
from tests.benchmarks.table import Row, finish, parser

ROOT = Path(__file__).parents[2]
CORPUS = Path(os.environ.get("AUDIOLM_CORPUS", ROOT.parent / "shared" / "corpus")) / "manifest.csv"
SPEAKERS = {"train": 10, "dev": 2}
PATIENCE_S = 300.0
SMALL = """\
preset = "nano"
[codec]
batch = 2
start_seconds = 40
[w2v-bert]
batch = 2
[stage-semantic]
batch = 2
[stage-coarse]
batch = 2
[stage-fine]
batch = 2
[stage-parallel]
batch = 2
[stage-delayed]
batch = 2
"""
Logged = list[tuple[int, str, str]]


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--out", type=Path, required=True, help="an empty folder; whole/ is the undisturbed run")
    arguments.add_argument("--data", type=Path, default=CORPUS, help="manifest of the recordings")
    arguments.add_argument("--steps", type=int, default=8)
    args = arguments.parse_args(argv)
    if args.steps < 6:
        arguments.error(f"--steps {args.steps}: give 6 or more, so that there is a midst to be killed in")
    args.out.mkdir(parents=True, exist_ok=True)
    command = training_command(args.out, few_recordings(args.data, args.out / "few.csv"), args.steps)
    if not (args.out / "whole" / "model").is_dir():
        subprocess.run([*command, "--out", str(args.out / "whole")], check=True, cwd=ROOT, stdout=sys.stderr)
    parts = [part for part in load_preset("nano").parts if part not in ("semantic", "model")]
    notes = args.out / "killed.json"
    killed: dict[str, list[int]] = json.loads(notes.read_text(encoding="utf-8")) if notes.is_file() else {}
    for part in parts:
        if part not in killed:
            killed[part] = interrupted(
                [*command, "--out", str(args.out / "killed"), "--resume"], args.out, part, args.steps
            )
            notes.write_text(json.dumps(killed), encoding="utf-8")
    subprocess.run([*command, "--out", str(args.out / "killed"), "--resume"], check=True, cwd=ROOT, stdout=sys.stderr)
    return finish([row for part in parts for row in compare(args.out, part, killed[part])], args.json)


def training_command(out: Path, data: Path, steps: int) -> list[str]:
    """``train all`` with every step logged, a state every second step."""
    recipe = out / "recipe.toml"
    recipe.write_text(SMALL, encoding="utf-8")
    command = [sys.executable, "-m", "audiolm", "all", "--recipe", str(recipe), "--data", str(data)]
    every = ["--log-every", "1", "--validate-every", str(steps // 2), "--save-every", "2"]
    return [*command, "--steps", str(steps), *every, "--threads", "1"]


def few_recordings(manifest: Path, target: Path) -> Path:
    """A manifest of one recording of each of the first speakers."""
    with manifest.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("kind", "speech") == "speech"]
    chosen = []
    for split, count in SPEAKERS.items():
        first = {row["speaker"]: row for row in reversed(rows) if row["split"] == split}
        chosen += list(first.values())[-count:]
    columns = ("utterance_id", "path", "split", "speaker")
    with target.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        for row in chosen:
            path = (manifest.parent / row["path"]).resolve()
            writer.writerow([row["utterance_id"], path, row["split"], row["speaker"]])
    return target


def interrupted(command: Sequence[str], out: Path, part: str, steps: int) -> list[int]:
    """Kill the training in ``part`` once with SIGKILL, once with SIGTERM; gives the steps logged by then."""
    reached = []
    for sign, step in ((signal.SIGKILL, 3), (signal.SIGTERM, min(5, steps - 1))):
        child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE_S
        while last_step(out / "killed" / part) < step and child.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        child.send_signal(sign)
        status = child.wait()
        if status not in (-sign, 128 + sign):
            raise SystemExit(f"{part}: the training was to end by signal {sign:d} and ended with status {status}")
        reached.append(last_step(out / "killed" / part))
    return reached


def last_step(folder: Path) -> int:
    """Of the log so far, 0 before the first."""
    return max((row[0] for row in read_log(folder / "log.csv")), default=0)


def logged(folder: Path) -> Logged:
    """Every value of a log as it is written, without the time."""
    with (folder / "log.csv").open(newline="", encoding="utf-8") as stream:
        return [(int(row["step"]), row["name"], row["value"]) for row in csv.DictReader(stream)]


def compare(out: Path, part: str, killed: Sequence[int]) -> list[Row]:
    """How many logged values and whether the weights differ."""
    whole, again = logged(out / "whole" / part), logged(out / "killed" / part)
    differ = sum(a != b for a, b in zip(whole, again, strict=False)) + abs(len(whole) - len(again))
    weights = [(out / run / part / "export" / "model.safetensors").read_bytes() for run in ("whole", "killed")]
    name = f"{part}: kill -9 after step {killed[0]}, SIGTERM after {killed[1]}"
    return [
        Row(name=name, value=differ, unit="values", against=f"{len(whole)} logged", target="0", met=differ == 0),
        Row(
            name=f"{part}: exported weights",
            value=float(weights[0] != weights[1]),
            unit="differ",
            target="0",
            met=weights[0] == weights[1],
        ),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
