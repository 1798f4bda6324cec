"""The process that judges clips for the desk: one line of JSON in, one out; it can be ended without the desk ending.

Run as ``python -m evaluation.desk.worker DETECTOR DEVICE LONGEST_S``. The first line it writes is ``{"ready": ...}``.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import detectors
from audiolm.audio import AudioError, probe
from evaluation.detect_verdicts import NO_OPINION, judge_file
from evaluation.discovery import pick
from evaluation.own_evidence.detectors import all_detectors

__all__ = ["examined", "main"]

NAME = "the clip"
OPERATING_POINT = "balanced"


def examined(detector: detectors.Detector, path: Path, shown: str, longest_s: float) -> dict[str, Any]:
    """As ``detect --json``, with ``shown`` for the path, which is the desk's own and temporary."""
    try:
        duration_s = probe(path).duration_s
    except (AudioError, OSError):
        duration_s = 0.0  # judge_file says what is wrong
    if duration_s > longest_s:
        reason = f"lasts {duration_s:.0f} s and the desk examines at most {longest_s:g} s; use audiolm-audit detect"
        return {"path": shown, "llr": None, "verdict": NO_OPINION, "reason": reason, "detector": detector.name}
    line = judge_file(detector, path, OPERATING_POINT)
    return line | {"path": shown, "reason": str(line["reason"]).replace(str(path), NAME)}


def main(arguments: list[str]) -> int:
    """Answer until the input ends."""
    name, device, longest_s = arguments[0], arguments[1], float(arguments[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the desk ends this process, an interrupt ends the desk
    out = sys.stdout
    sys.stdout = sys.stderr  # a library that prints must not speak into the answers
    try:
        detector = pick(all_detectors(), name, "detector").load(None, device)
    except (ValueError, OSError, ImportError) as error:
        out.write(json.dumps({"error": str(error)}) + "\n")
        out.flush()
        return 2
    out.write(json.dumps({"ready": {"detector": detector.name, "threshold_llr": detector.threshold_llr}}) + "\n")
    out.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        answer = examined(detector, Path(asked["path"]), str(asked["shown"]), longest_s)
        out.write(json.dumps(answer, ensure_ascii=True) + "\n")
        out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
