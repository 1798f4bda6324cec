"""How often genuine accented speech is called synthetic at the shipped threshold, by group, with intervals.

    python recipes/detector/fairness.py --corpus ../shared/corpus [--detector fusion] [--split fairness]

The split ``fairness`` is used for nothing else. Intervals: 95 %, by resampling speakers 2,000 times.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

import detectors
from audiolm.audio import AudioClip
from evaluation.own_evidence.detectors import all_detectors

REPLICATES = 2_000


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"), help="folder with manifest.csv")
    parser.add_argument("--detector", default=detectors.DEFAULT_DETECTOR)
    parser.add_argument("--split", default="fairness")
    parser.add_argument("--fewest", type=int, default=9, help="clips below which a group is not shown")
    return parser.parse_args()


def _interval(flags: dict[str, list[bool]]) -> tuple[float, float]:
    rng, speakers = np.random.default_rng(0), [(sum(found), len(found)) for found in flags.values()]
    counts = np.asarray(speakers, float)
    drawn = counts[rng.integers(len(counts), size=(REPLICATES, len(counts)))].sum(axis=1)
    low, high = np.percentile(drawn[:, 0] / drawn[:, 1], [2.5, 97.5])
    return float(low), float(high)


def main() -> None:
    arguments = _arguments()
    detector = all_detectors()[arguments.detector].load()
    with (arguments.corpus / "manifest.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == arguments.split and row["kind"] == "speech"]
    groups: dict[str, dict[str, list[bool]]] = {}
    abstained = 0
    for row in rows:
        clip = AudioClip.from_file(arguments.corpus / row["path"])
        verdict = detector.judge(clip.samples, clip.sample_rate_hz)
        if verdict.llr is None:
            abstained += 1
            continue
        for group in ("all", f"gender {row['gender'] or '-'}", f"accent {row['accent'] or '-'}"):
            speakers = groups.setdefault(group, {})
            speakers.setdefault(row["speaker"], []).append(verdict.llr < detector.threshold_llr)
    print(f"{detector.name}, threshold {detector.threshold_llr:.2f} nats: {len(rows)} clips, {abstained} abstained")
    for group, speakers in sorted(groups.items(), key=lambda item: -sum(map(len, item[1].values()))):
        clips = sum(map(len, speakers.values()))
        if clips >= arguments.fewest:
            low, high = _interval(speakers)
            share = sum(map(sum, speakers.values())) / clips
            print(f"{group:28} {clips:4d} ({len(speakers)}) {100 * share:5.1f} % [{100 * low:.1f}, {100 * high:.1f}]")


if __name__ == "__main__":
    main()
