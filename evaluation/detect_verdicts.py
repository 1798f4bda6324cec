"""From a detector's ratio to a verdict that a person may act on: operating point, provenance, segments, evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import detectors
from audiolm.audio import AudioError, probe, read_provenance, stream_blocks
from detectors.error_rates import bayes_threshold
from detectors.localisation import find_segments, seams
from detectors.windowed import WindowedDetector
from evaluation.detect_inputs import readable_path, what_it_is
from evaluation.watermark import WatermarkReader

__all__ = ["BONA_FIDE", "NO_OPINION", "OPERATING_POINTS", "SYNTHETIC", "judge_file", "no_opinion", "threshold_of"]

BLOCK_S = 30.0
BONA_FIDE, SYNTHETIC, NO_OPINION = "bona fide", "synthetic", "no opinion"
LONGEST_WITHOUT_BLOCKS_S = 600.0
"""A detector without ``judge_blocks`` judges at most this much of a file."""

OPERATING_POINTS: Mapping[str, str] = MappingProxyType(
    {
        "balanced": "the shipped threshold (ASVspoof 5: 5 % synthetic, a missed fake costs ten false alarms)",
        "moderation": "rare fakes, dear false alarms: 5 % synthetic, both errors cost the same",
        "forensic": "the ratio only, no verdict",
    }
)
TOOL = "audiolm-audit"
HUMAN_ROLES = ("reference", "codec", "codec-8", "codec-4", "recorded")
UNIT, DIRECTION = "nats", "higher = more likely bona fide"


def threshold_of(point: str, detector: detectors.Detector) -> float | None:
    """The ratio in nats below which speech is called synthetic; None where no verdict is given."""
    if point == "forensic":
        return None
    return detector.threshold_llr if point == "balanced" else bayes_threshold(0.05, 1.0, 1.0)


def no_opinion(name: str, detector: detectors.Detector, point: str, reason: str) -> dict[str, Any]:
    """The line of a file that is not judged."""
    return {
        "path": name,
        "llr": None,
        "verdict": NO_OPINION,
        "reason": reason,
        "detector": detector.name,
        "unit": UNIT,
        "direction": DIRECTION,
        "operating_point": point,
        "threshold_llr": threshold_of(point, detector),
        "timeline": [],
        "segments": [],
        "seams_s": [],
        "evidence": [],
    }


def judge_file(
    detector: detectors.Detector, path: Path, point: str, watermark: WatermarkReader | None = None
) -> dict[str, Any]:
    """One line of ``detect --json``; a file that cannot be judged has its reason there."""
    threshold = threshold_of(point, detector)
    line = no_opinion(str(path), detector, point, "")
    with readable_path(path) as readable:
        provenance = read_provenance(readable)
        try:
            verdict = _verdict(detector, readable)
        except (AudioError, OSError, ValueError) as error:
            kind = what_it_is(readable)
            return line | {"reason": f"{path}: is {kind}" if kind else str(error).replace(str(readable), str(path))}
        mark = watermark.read(readable) if watermark is not None else None
    line["reason"] = verdict.reason
    if verdict.llr is not None:
        line |= _measured(verdict, detector, threshold)
        if threshold is None:
            line["reason"] = "forensic operating point: the ratio only, no verdict"
    if mark is not None:
        line = _with_watermark(line, mark, point)
    return _with_provenance(line, provenance, point) if provenance else line


def _with_watermark(line: dict[str, Any], mark: dict[str, Any], point: str) -> dict[str, Any]:
    """One-sided: a mark that is found makes the verdict synthetic; one that is not changes nothing."""
    evidence = [*line["evidence"], {"name": "watermark", "llr": None, "says": mark["says"]}]
    line = line | {"watermark": mark, "evidence": evidence}
    if mark["found"] and point != "forensic":
        line["verdict"] = SYNTHETIC
    return line


def _measured(verdict: detectors.Verdict, detector: detectors.Detector, threshold: float | None) -> dict[str, Any]:
    frames = verdict.frames or verdict.timeline
    limit = detector.threshold_llr if threshold is None else threshold
    segments = find_segments(frames, limit)
    parts = verdict.evidence or ((detector.name, verdict.llr),)
    found: dict[str, Any] = {
        "llr": verdict.llr,
        "timeline": [[round(start, 3), round(end, 3), llr] for start, end, llr in frames],
        "segments": [
            {"start_s": part.start_s, "end_s": part.end_s, "label": part.label, "llr": part.llr} for part in segments
        ],
        "seams_s": seams(segments),
        "evidence": [
            *({"name": name, "llr": llr} for name, llr in parts),
            *({"llr": None, **asdict(number)} for number in verdict.measured),
        ],
    }
    if threshold is not None and verdict.llr is not None:
        found["verdict"] = SYNTHETIC if verdict.llr < threshold else BONA_FIDE
    return found


def _with_provenance(line: dict[str, Any], provenance: Mapping[str, object], point: str) -> dict[str, Any]:
    """The tag is one-sided evidence: one that our tools wrote can say that speech was generated, never that it was not.

    It can be removed, and forged: it overrides the verdict and is named as what carried it; the ratio stays.
    """
    role = str(provenance.get("role"))
    verified = provenance.get("tool") == TOOL and isinstance(provenance.get("role"), str) and "seed" in provenance
    line = line | {"provenance": dict(provenance)}
    if not verified or role in HUMAN_ROLES:
        return line
    says = f"the file says so itself: tag of our own generator, role {role}"
    line["evidence"] = [{"name": "provenance", "llr": None, "says": says}, *line["evidence"]]
    if point != "forensic":
        line["verdict"] = SYNTHETIC
    return line


def _verdict(detector: detectors.Detector, path: Path) -> detectors.Verdict:
    info = probe(path)
    blocks = stream_blocks(path, block_s=BLOCK_S)
    judge_blocks = getattr(detector, "judge_blocks", None)
    if judge_blocks is not None:
        samples = (block.samples for block in blocks)
        if isinstance(detector, WindowedDetector):
            return judge_blocks(samples, info.sample_rate_hz, frames=True)
        return judge_blocks(samples, info.sample_rate_hz)
    if info.duration_s > LONGEST_WITHOUT_BLOCKS_S:
        reason = (
            f"lasts {info.duration_s:.0f} s and {detector.name} reads at most {LONGEST_WITHOUT_BLOCKS_S:.0f} s; cut it"
        )
        return detectors.Verdict(llr=None, reason=reason)
    return detector.judge(np.concatenate([block.samples for block in blocks]), info.sample_rate_hz)
