"""What a detector does to a set of clips: miss, false alarm and abstention apart, with intervals over speakers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import detectors
from detectors.error_rates import eer
from detectors.labelled import LabelledClip
from evaluation.bootstrap import Resampler

__all__ = ["Judged", "judge_all", "rates", "share"]

RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class Judged:
    """One judgement: ``llr`` in nats, None where the detector abstained."""

    is_bona_fide: bool
    speaker_id: str
    generator: str
    llr: float | None
    reason: str = ""


def judge_all(
    detector: detectors.Detector,
    clips: Sequence[LabelledClip],
    change: Callable[[LabelledClip], np.ndarray] | None = None,
) -> list[Judged]:
    """Every clip, after ``change``, through the whole detector with its abstention."""
    found = []
    for clip in clips:
        verdict = detector.judge(change(clip) if change else clip.samples, RATE_HZ)
        found.append(Judged(clip.is_bona_fide, clip.speaker_id, clip.generator, verdict.llr, verdict.reason))
    return found


def share(judged: Sequence[Judged], holds: Callable[[Judged], bool], resampler: Resampler) -> dict[str, Any]:
    """Share of the judgements for which something holds, with its 95 % interval over speakers."""
    speakers = sorted({one.speaker_id for one in judged})
    place = {name: index for index, name in enumerate(speakers)}
    above, below = np.zeros(len(speakers)), np.zeros(len(speakers))
    for one in judged:
        below[place[one.speaker_id]] += 1.0
        above[place[one.speaker_id]] += float(holds(one))
    interval = resampler.ratio(speakers, above, below, (0.0, 1.0)) if judged else None
    values = (interval.estimate, interval.low, interval.high) if interval else (math.nan,) * 3
    estimate, low, high = (round(value, 6) if math.isfinite(value) else None for value in values)
    return {"share": estimate, "low": low, "high": high, "clips": len(judged), "speakers": len(speakers)}


def rates(judged: Sequence[Judged], threshold: float, resampler: Resampler) -> dict[str, Any]:
    """Miss (bona fide called synthetic), false alarm (synthetic called bona fide), abstention per class, and EER."""
    bona, synth = ([one for one in judged if one.is_bona_fide is kind] for kind in (True, False))
    scored_bona, scored_synth = ([one for one in part if one.llr is not None] for part in (bona, synth))
    equal = None
    if scored_bona and scored_synth:
        equal = round(
            eer(*([one.llr for one in part if one.llr is not None] for part in (scored_bona, scored_synth))), 6
        )
    return {
        "miss": share(scored_bona, lambda one: one.llr is not None and one.llr < threshold, resampler),
        "false_alarm": share(scored_synth, lambda one: one.llr is not None and one.llr >= threshold, resampler),
        "abstained_bona_fide": share(bona, lambda one: one.llr is None, resampler),
        "abstained_synthetic": share(synth, lambda one: one.llr is None, resampler),
        "eer_interpolated": equal,
    }
