"""What a trained detector is worth: scores on labelled clips, error rates by generator and channel, model card."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from detectors.calibration import Calibration, fit_calibration
from detectors.error_rates import act_dcf, bayes_threshold, cllr, eer, error_rates_at, min_cllr, min_dcf
from detectors.features import SAMPLE_RATE_HZ
from detectors.labelled import LabelledClip

__all__ = [
    "ErrorRow",
    "ScoredClip",
    "calibrate",
    "error_table",
    "pooled_measures",
    "reference_rows",
    "rows_as_dicts",
    "score_clips",
]

OWN_CODEC = "own_codec"
Scorer = Callable[[Iterable[np.ndarray], int], tuple[float, list[tuple[float, float, float]], str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredClip:
    """A labelled clip without its samples. ``raw``: uncalibrated score, NaN with a ``reason`` where it abstained."""

    clip: LabelledClip
    duration_s: float
    raw: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorRow:
    """Error rates of one generator in one condition, against bona fide speech in condition ``bona_fide``.

    ``eer``, ``p_miss`` (bona fide called synthetic), ``p_false_alarm`` (the reverse) are shares; the last two at the
    shipped threshold. ``cllr_bits``: cost of the log-likelihood ratios. Abstentions are counted, not scored.
    """

    generator: str
    condition: str
    bona_fide: str
    eer: float
    p_miss: float
    p_false_alarm: float
    cllr_bits: float
    n_bona: int
    n_bona_speakers: int
    n_synth: int
    n_synth_speakers: int
    n_abstained: int


def score_clips(score: Scorer, clips: Sequence[LabelledClip]) -> list[ScoredClip]:
    """Each clip through the whole detector; ``score`` is its ``score_blocks``."""
    scored = []
    for clip in clips:
        raw, _, reason = score([clip.samples], SAMPLE_RATE_HZ)
        duration_s = clip.samples.size / SAMPLE_RATE_HZ
        without = LabelledClip(
            samples=np.zeros(0, np.float32),
            generator=clip.generator,
            speaker_id=clip.speaker_id,
            utterance_id=clip.utterance_id,
            split=clip.split,
            condition=clip.condition,
        )
        scored.append(ScoredClip(clip=without, duration_s=duration_s, raw=math.nan if reason else raw, reason=reason))
    return scored


def calibrate(scored: Sequence[ScoredClip]) -> Calibration:
    """Fit on held-out speakers, every generator and channel weighing the same within its class.

    Recordings and sentences are what counts as independent, not their copies through channels.
    """
    classes: dict[bool, dict[tuple[str, str], list[ScoredClip]]] = {True: {}, False: {}}
    for item in scored:
        if not item.reason:
            cell = (item.clip.generator, item.clip.condition)
            classes[item.clip.is_bona_fide].setdefault(cell, []).append(item)
    scores, independent = [], []
    for cells in (classes[True], classes[False]):
        most = max((len(members) for members in cells.values()), default=0)
        repeated = [
            np.resize(np.asarray([member.raw for member in members]), most) for _, members in sorted(cells.items())
        ]
        scores.append(np.concatenate(repeated) if repeated else np.zeros(0))
        independent.append(len({member.clip.utterance_id for members in cells.values() for member in members}))
    return fit_calibration(*scores, independent_bona=independent[0], independent_synth=independent[1])


def error_table(scored: Sequence[ScoredClip], calibration: Calibration, threshold_llr: float) -> list[ErrorRow]:
    """One row per generator, condition, and matching bona fide condition; last, everything together as ``all``.

    Speech through a channel is set against bona fide speech through the same; our own model's output against plain
    recordings and against recordings through its codec.
    """
    bona = _by_cell([item for item in scored if item.clip.is_bona_fide])
    synth = _by_cell([item for item in scored if not item.clip.is_bona_fide])
    rows = []
    for (generator, condition), members in synth.items():
        against = [condition, OWN_CODEC] if generator.startswith("own_") and condition == "raw" else [condition]
        for name in against:
            if name in {cell[1] for cell in bona}:
                humans = [item for cell, items in bona.items() if cell[1] == name for item in items]
                rows.append(_row(generator, condition, name, humans, members, calibration, threshold_llr))
    everyone = [item for items in bona.values() for item in items], [i for items in synth.values() for i in items]
    if all(everyone):
        rows.append(_row("all", "all", "all", *everyone, calibration, threshold_llr))
    return rows


def _by_cell(items: Iterable[ScoredClip]) -> dict[tuple[str, str], list[ScoredClip]]:
    cells: dict[tuple[str, str], list[ScoredClip]] = {}
    for item in items:
        cells.setdefault((item.clip.generator, item.clip.condition), []).append(item)
    return dict(sorted(cells.items()))


def _llrs(items: Sequence[ScoredClip], calibration: Calibration) -> np.ndarray:
    return calibration([item.raw for item in items if not item.reason])


def _row(
    generator: str,
    condition: str,
    bona_fide: str,
    bona: Sequence[ScoredClip],
    synth: Sequence[ScoredClip],
    calibration: Calibration,
    threshold_llr: float,
) -> ErrorRow:
    humans, machines = _llrs(bona, calibration), _llrs(synth, calibration)
    usable = humans.size > 0 and machines.size > 0
    rates = error_rates_at(humans, machines, threshold_llr) if usable else (math.nan, math.nan)
    return ErrorRow(
        generator=generator,
        condition=condition,
        bona_fide=bona_fide,
        eer=eer(humans, machines) if usable else math.nan,
        p_miss=rates[1],
        p_false_alarm=rates[0],
        cllr_bits=cllr(humans, machines) if usable else math.nan,
        n_bona=humans.size,
        n_bona_speakers=len({item.clip.speaker_id for item in bona}),
        n_synth=machines.size,
        n_synth_speakers=len({item.clip.speaker_id for item in synth}),
        n_abstained=sum(bool(item.reason) for item in (*bona, *synth)),
    )


def pooled_measures(scored: Sequence[ScoredClip], calibration: Calibration) -> dict[str, float]:
    """EER (two variants), detection costs at ASVspoof 5's operating point, Cllr in bits, over all clips together."""
    bona = _llrs([item for item in scored if item.clip.is_bona_fide], calibration)
    synth = _llrs([item for item in scored if not item.clip.is_bona_fide], calibration)
    return {
        "eer_interpolated": eer(bona, synth),
        "eer_rocch": eer(bona, synth, variant="rocch"),
        "min_dcf": min_dcf(bona, synth),
        "act_dcf": act_dcf(bona, synth),
        "cllr_bits": cllr(bona, synth),
        "min_cllr_bits": min_cllr(bona, synth),
        "threshold_llr": bayes_threshold(),
    }


def reference_rows(scored: Sequence[ScoredClip], calibration: Calibration) -> list[dict[str, Any]]:
    """The bona fide clips as rows of ``reference_scores.json``."""
    rows = []
    for item in scored:
        if item.clip.is_bona_fide:
            rows.append(
                {
                    "speaker_id": item.clip.speaker_id,
                    "utterance_id": item.clip.utterance_id,
                    "split": "dev" if item.clip.split == "held" else item.clip.split,
                    "condition": item.clip.condition,
                    "duration_s": round(item.duration_s, 3),
                    "llr": None if item.reason else round(float(calibration(item.raw)), 6),
                    "reason": item.reason,
                }
            )
    return sorted(rows, key=lambda row: (row["split"], row["condition"], row["utterance_id"]))


def rows_as_dicts(rows: Sequence[ErrorRow]) -> list[dict[str, Any]]:
    """Plain values for JSON, rounded to six digits; a rate that could not be had is None."""
    return [
        {
            name: (None if math.isnan(value) else round(value, 6)) if isinstance(value, float) else value
            for name, value in asdict(row).items()
        }
        for row in rows
    ]
