"""One audio file held before a detector: the JSON object that ``detect --json`` prints and the local desk answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import detectors
from audiolm.audio import AudioError, probe, read_provenance, stream_blocks

__all__ = ["BONA_FIDE", "NO_OPINION", "SYNTHETIC", "judge_file"]

BLOCK_S = 30.0
BONA_FIDE, SYNTHETIC, NO_OPINION = "bona fide", "synthetic", "no opinion"
LONGEST_WITHOUT_BLOCKS_S = 600.0
"""A detector without ``judge_blocks`` judges at most this much of a file."""


def judge_file(detector: detectors.Detector, path: Path, *, timeline: bool = False) -> dict[str, Any]:
    """Log-likelihood ratio ``llr`` in nats (higher = more likely bona fide) and verdict, or no opinion with the reason.

    A file that cannot be read gives no opinion; nothing is raised for it. ``timeline`` adds windows as
    ``[start_s, end_s, llr]``.
    """
    line: dict[str, Any] = {
        "path": str(path),
        "llr": None,
        "verdict": NO_OPINION,
        "reason": "",
        "detector": detector.name,
    }
    try:
        verdict = _verdict(detector, path)
    except (AudioError, OSError, ValueError) as error:
        return line | {"reason": str(error)}
    if verdict.llr is not None:
        line["llr"] = verdict.llr
        line["verdict"] = SYNTHETIC if verdict.llr < detector.threshold_llr else BONA_FIDE
    line["reason"] = verdict.reason
    if timeline:
        line["timeline"] = [list(window) for window in verdict.timeline]
    provenance = read_provenance(path)
    return line | {"provenance": provenance} if provenance else line


def _verdict(detector: detectors.Detector, path: Path) -> detectors.Verdict:
    info = probe(path)
    blocks = stream_blocks(path, block_s=BLOCK_S)
    judge_blocks = getattr(detector, "judge_blocks", None)
    if judge_blocks is not None:
        return judge_blocks((block.samples for block in blocks), info.sample_rate_hz)
    if info.duration_s > LONGEST_WITHOUT_BLOCKS_S:
        reason = (
            f"lasts {info.duration_s:.0f} s and {detector.name} reads at most {LONGEST_WITHOUT_BLOCKS_S:.0f} s; cut it"
        )
        return detectors.Verdict(llr=None, reason=reason)
    return detector.judge(np.concatenate([block.samples for block in blocks]), info.sample_rate_hz)
