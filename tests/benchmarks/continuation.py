"""A continuation of a 3 s prompt by the shipped nano model, from WAV file to WAV file, against real time.

    OMP_WAIT_POLICY=passive python -m tests.benchmarks.continuation [--prompt FILE] [--seconds 7] [--json]

Without ``--prompt`` the prompt is modulated noise: the time does not depend on what is said.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from audiolm import AudioLM
from audiolm.audio import AudioClip, write_audio
from tests.benchmarks.table import Row, finish, parser

RATE_HZ = 16_000
PROMPT_S = 3.0


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser(__doc__)
    arguments.add_argument("--prompt", type=Path)
    arguments.add_argument("--seconds", type=float, default=7.0)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--whole-into", type=Path, help="only do the job once, into this file")
    args = arguments.parse_args(argv)
    if args.whole_into:
        _job(AudioLM.from_pretrained("nano"), args.prompt, args.whole_into, args.seconds)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        prompt = args.prompt or _made_up(Path(folder) / "prompt.wav")
        target = Path(folder) / "continuation.wav"
        model = AudioLM.from_pretrained("nano")
        _job(model, prompt, target, 1.0)  # the decoding step is compiled once per installation
        start = time.process_time()
        times = [_timed(lambda: _job(model, prompt, target, args.seconds)) for _ in range(args.rounds)]
        processor = (time.process_time() - start) / args.rounds
        command = [sys.executable, "-m", "tests.benchmarks.continuation", "--prompt", str(prompt)]
        command += ["--whole-into", str(target), "--seconds", str(args.seconds)]
        whole = _timed(lambda: subprocess.run(command, check=True, env={**os.environ}))
    return finish(
        [
            _row("7 s continuation, nano, file to file", statistics.median(times), args.seconds),
            Row(name="the same, processor time of all threads", value=processor, unit="s"),
            _row("the same with a fresh Python, imports and loading", whole, args.seconds),
        ],
        args.json,
    )


def _job(model: AudioLM, prompt: Path, target: Path, seconds: float) -> None:
    clip = AudioClip.from_file(prompt, duration_s=PROMPT_S).at_rate(RATE_HZ)
    (samples,) = model.continuation([clip.samples], seconds, [0])
    write_audio(target, AudioClip.from_array(samples, RATE_HZ))


def _made_up(path: Path) -> Path:
    rng = np.random.default_rng(0)
    samples = 0.1 * rng.standard_normal(int(PROMPT_S * RATE_HZ)).astype(np.float32)
    samples *= np.abs(np.sin(np.arange(len(samples)) * 2 * np.pi * 2.0 / RATE_HZ)).astype(np.float32)
    write_audio(path, AudioClip.from_array(samples.clip(-1, 1), RATE_HZ))
    return path


def _row(name: str, took: float, seconds: float) -> Row:
    return Row(
        name=name,
        value=took,
        unit="s",
        against="real time",
        ratio=took / seconds,
        target="< 1 x",
        met=took < seconds,
    )


def _timed(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(main())
