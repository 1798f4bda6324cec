"""How often the seam of a continuation is found within half a second, and how often one is found in a recording.

    audiolm-audit generate --prompts ../shared/corpus/manifest.csv --split test --mode continuation --out runs/c
    python recipes/detector/seams.py --corpus ../shared/corpus --continuations runs/c [--detector fusion]

Each continuation is put behind the three seconds of the recording that it continues.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import detectors
from audiolm.audio import AudioClip, read_provenance
from detectors.localisation import find_segments, seams
from detectors.windowed import WindowedDetector
from evaluation.manifest import read_utterances
from evaluation.own_evidence.detectors import all_detectors

RATE_HZ, PROMPT_S, NEAR_S = 16_000, 3.0, 0.5


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=Path("../shared/corpus"), help="folder with manifest.csv")
    parser.add_argument("--continuations", type=Path, nargs="+", required=True, help="folders of generate --mode")
    parser.add_argument("--detector", default=detectors.DEFAULT_DETECTOR)
    return parser.parse_args()


def _found(detector: WindowedDetector, samples: np.ndarray) -> list[float] | None:
    verdict = detector.judge_blocks([samples], RATE_HZ, frames=True)
    return None if verdict.llr is None else seams(find_segments(verdict.frames, detector.threshold_llr))


def main() -> None:
    arguments = _arguments()
    detector = all_detectors()[arguments.detector].load()
    if not isinstance(detector, WindowedDetector):
        raise ValueError(f"{arguments.detector} has no timeline; name another detector")
    recorded = {row.utterance_id: row for row in read_utterances(arguments.corpus / "manifest.csv")}
    near, judged, seen, false, genuine = 0, 0, set(), 0, 0
    for folder in arguments.continuations:
        for path in sorted(folder.glob("*.wav")):
            utterance_id = str((read_provenance(path) or {}).get("utterance_id"))
            if utterance_id not in recorded:
                continue
            whole = AudioClip.from_file(recorded[utterance_id].audio_path).at_rate(RATE_HZ).samples
            prompt = whole[: int(PROMPT_S * RATE_HZ)]
            made = _found(detector, np.concatenate([prompt, AudioClip.from_file(path).at_rate(RATE_HZ).samples]))
            if made is not None:
                judged += 1
                near += any(abs(seam - PROMPT_S) <= NEAR_S for seam in made)
            if utterance_id not in seen:
                seen.add(utterance_id)
                alone = _found(detector, whole)
                genuine += alone is not None
                false += bool(alone)
    print(f"{detector.name}: seam within {NEAR_S} s in {near} of {judged} continuations; any in {false} of {genuine}")


if __name__ == "__main__":
    main()
