"""Verdicts on test clips after edits by programs that made none of the training windows: sox, Rubber Band, ffmpeg.

    python recipes/detector/edits.py --cache runs/detector [--clips 40] [--detector fusion]

``--cache``: the clips of ``detect-train`` or ``recipes/detector/fusion.py``; only its test speakers are used. Needs sox
and ffmpeg with Rubber Band.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import soundfile as sf

import detectors
from detectors.error_rates import eer
from detectors.labelled import LabelledClip
from evaluation.leave_out import read_clip_cache
from evaluation.own_evidence.detectors import all_detectors
from evaluation.robustness_clips import in_turn

RATE_HZ, PEAK = 16_000, 0.8
EDITS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "none": (),
        "sox pitch +1 semitone": ("sox", "IN", "OUT", "pitch", "100"),
        "sox pitch -2 semitones": ("sox", "IN", "OUT", "pitch", "-200"),
        "sox tempo 1.15": ("sox", "IN", "OUT", "tempo", "-s", "1.15"),
        "Rubber Band pitch +1 semitone": ("ffmpeg", "-y", "-i", "IN", "-af", "rubberband=pitch=1.0595", "OUT"),
        "Rubber Band pitch -2 semitones": ("ffmpeg", "-y", "-i", "IN", "-af", "rubberband=pitch=0.8909", "OUT"),
        "Rubber Band tempo 0.9": ("ffmpeg", "-y", "-i", "IN", "-af", "rubberband=tempo=0.9", "OUT"),
        "ffmpeg tempo 1.1": ("ffmpeg", "-y", "-i", "IN", "-af", "atempo=1.1", "OUT"),
    }
)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, required=True, help="folder of clips")
    parser.add_argument("--clips", type=int, default=40, help="per class")
    parser.add_argument("--detector", default=detectors.DEFAULT_DETECTOR)
    return parser.parse_args()


def _edited(samples: np.ndarray, command: tuple[str, ...], folder: Path) -> np.ndarray:
    if not command:
        return samples
    places = {"IN": str(folder / "in.wav"), "OUT": str(folder / "out.wav")}
    sf.write(places["IN"], samples / max(1.0, float(np.abs(samples).max())) * PEAK, RATE_HZ)
    subprocess.run([places.get(word, word) for word in command], check=True, capture_output=True)
    return sf.read(places["OUT"], dtype="float32")[0]


def _verdicts(detector: detectors.Detector, clips: list[LabelledClip], command: tuple[str, ...]) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        made = (_edited(clip.samples, command, Path(folder)) for clip in clips)
        found = [detector.judge(samples, RATE_HZ).llr for samples in made]
    return np.asarray([llr for llr in found if llr is not None])


def main() -> None:
    arguments = _arguments()
    detector = all_detectors()[arguments.detector].load()
    test = [clip for clip in read_clip_cache(arguments.cache) if clip.split == "test" and clip.condition == "raw"]
    classes = [in_turn([clip for clip in test if clip.is_bona_fide is one], arguments.clips) for one in (True, False)]
    print("| edit | genuine called synthetic | synthetic called genuine | EER % |\n| --- | --- | --- | --- |")
    for name, command in EDITS.items():
        genuine, synthetic = (_verdicts(detector, members, command) for members in classes)
        wrong = int(np.sum(genuine < detector.threshold_llr)), int(np.sum(synthetic >= detector.threshold_llr))
        rates = f"{wrong[0]} of {len(genuine)} | {wrong[1]} of {len(synthetic)} | {100 * eer(genuine, synthetic):.1f}"
        print(f"| {name} | {rates} |", flush=True)


if __name__ == "__main__":
    main()
