"""Speed and memory of ``detect`` on a long file: ``python -m tests.benchmarks.detect_long --corpus C --minutes 120``.

The recording is the corpus's test speech, one file after the other. Speed is seconds of sound per second of processor
time of one thread; memory is the highest of the whole process, Python and torch included (both alone: see ``before``).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import detectors
from audiolm.audio import AudioClip, write_audio_blocks
from evaluation.detect_verdicts import judge_file
from evaluation.manifest import read_utterances
from evaluation.own_evidence.detectors import all_detectors

RATE_HZ = 16_000


def _speech(corpus: Path, minutes: float) -> Iterator[np.ndarray]:
    rows = read_utterances(corpus / "manifest.csv", split="test")
    left = int(minutes * 60 * RATE_HZ)
    while left > 0:
        for row in rows:
            samples = AudioClip.from_file(row.audio_path).at_rate(RATE_HZ).samples[:left]
            left -= samples.size
            yield samples
            if left <= 0:
                return


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--detector", default=detectors.DEFAULT_DETECTOR)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    detector = all_detectors()[args.detector].load(None, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.flac"
        write_audio_blocks(path, _speech(args.corpus, args.minutes), RATE_HZ)
        detector.judge(next(_speech(args.corpus, 0.2)), RATE_HZ)
        before_mb, started, wall = _peak_mb(), time.process_time(), time.perf_counter()
        line = judge_file(detector, path, "balanced")
        cpu_s, wall_s = time.process_time() - started, time.perf_counter() - wall
    print(
        json.dumps(
            {
                "detector": detector.name,
                "minutes": args.minutes,
                "verdict": line["verdict"],
                "windows": len(line["timeline"]),
                "cpu_s": round(cpu_s, 1),
                "times_real_time": round(args.minutes * 60 / cpu_s, 1),
                "wall_s": round(wall_s, 1),
                "load": round(os.getloadavg()[0], 1),
                "before_mb": round(before_mb),
                "peak_mb": round(_peak_mb()),
            }
        )
    )


if __name__ == "__main__":
    main()
