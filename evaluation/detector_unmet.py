"""How the detectors do on a generator that they were never shown: each kept from training in turn, and met afterwards.

With a generator go the copies of it whose weights were moved, its own imitations, and all modes of our own model at
once. Parts are trained anew for each; a log-mel network from nothing stands for both of the shipped fusion, which were
shown all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from detectors.assessment import ScoredClip
from detectors.error_rates import eer
from detectors.feature_training import FeatureSet
from detectors.labelled import LabelledClip
from evaluation.detector_fusion import FusionPlan, channelled, fit_part, score_parts, score_windows
from evaluation.detector_scored import SHIPPED, Scored, Together, part_detector
from evaluation.detector_windows import WindowSet

__all__ = ["NEVER_SHOWN", "OWN_MODEL", "Fold", "PARTS", "kept_away", "leave_out", "macro"]

OWN_MODEL = "own_model"
RELATIVES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hifigan": ("hifigan_bent", "hifigan_chained"),
        "piper": ("piper_bent",),
        "hibari": ("hibari_bent",),
        "kokoro": ("kokoro_bent",),
        "world": ("world_bent",),
        "codec_other_rate": ("codec_bent",),
        "phase_rebuilt": ("phase_blurred",),
        "griffin_lim": ("mel_inverted",),
    }
)
MODES = ("own_continuation", "own_acoustic", "own_unconditional")
TESTED_MODES = MODES[:2]
NEVER_SHOWN = (
    *(OWN_MODEL, "hifigan", "piper", "hibari", "kokoro", "world", "codec_other_rate", "phase_rebuilt", "griffin_lim"),
    *("flite", "espeak", "festival_hts", "lpc_vocoder", "neural_codec", "neural_codec_24k", "neural_codec_staged"),
    *("neural_vocoder", "neural_vocoder_staged", "neural_vocoder_nearest"),
)
"""Left out in turn: all that have test clips, but two kinds that no part is shown anyway and Festival's diphones."""
PARTS = ("mel_anew", "fine_statistics")
HOW = Together(
    shares={"mel_anew": 3.0, "fine_statistics": 6.0}, most={"mel_anew": SHIPPED.most["mel_kinds"]}, window_share=0.5
)
FALSE_ALARMS = 0.01
REPLICATES = 300


def kept_away(generator: str) -> tuple[str, ...]:
    """What is kept from training with it."""
    return MODES if generator == OWN_MODEL else (generator, *RELATIVES.get(generator, ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One generator met: ratios in nats of genuine and of its test clips by detector, their speakers, thresholds."""

    generator: str
    genuine: Mapping[str, np.ndarray]
    synthetic: Mapping[str, np.ndarray]
    genuine_speakers: Sequence[str]
    synthetic_speakers: Sequence[str]
    thresholds: Mapping[str, float]

    def eer(self, detector: str) -> float:
        """Equal error rate, a share."""
        return eer(self.genuine[detector], self.synthetic[detector])

    def caught(self, detector: str) -> float:
        """Share called synthetic where 1 % of the calibration speakers' genuine clips are."""
        return float(np.mean(self.synthetic[detector] < self.thresholds[detector]))


def leave_out(
    generator: str,
    training: Mapping[str, FeatureSet],
    held: Mapping[str, FeatureSet],
    windows: WindowSet,
    clips: Sequence[LabelledClip],
    plan: FusionPlan,
) -> Fold:
    """Train both parts without ``generator`` and its relatives, calibrate and fuse them without it, and meet it.

    ``training`` and ``held``: features of windows by part; ``windows``: the held-out ones as sound.

    Raises:
        ValueError: no test clips of it.
    """
    away = kept_away(generator)
    met = [clip for clip in clips if clip.split == "test" and clip.condition == "raw"]
    met = [clip for clip in met if clip.is_bona_fide or clip.generator in _tested(generator)]
    if all(clip.is_bona_fide for clip in met):
        raise ValueError(f"no test clips of {generator}; make them, or leave another one out")
    known = channelled([clip for clip in clips if clip.split == "held" and clip.generator not in away], 1, every=False)
    parts = {name: part_detector(name, fit_part(name, training[name], held[name], plan, away)) for name in training}
    kept = windows.without(away)
    scored = Scored(parts, score_parts(parts, known), score_parts(parts, met), kept, score_windows(parts, kept))
    found = {name: scored.alone(name)[:2] for name in parts}
    if len(parts) > 1:
        found["fusion"] = scored.together(tuple(parts), HOW)[:2]
    return _fold(generator, found)


def _tested(generator: str) -> tuple[str, ...]:
    return TESTED_MODES if generator == OWN_MODEL else (generator,)


def _fold(generator: str, found: Mapping[str, tuple[list[ScoredClip], list[ScoredClip]]]) -> Fold:
    ratios: dict[bool, dict[str, np.ndarray]] = {True: {}, False: {}}
    thresholds, speakers = {}, {True: [""], False: [""]}
    for name, (held, test) in found.items():
        genuine = np.sort([item.raw for item in held if item.clip.is_bona_fide and not item.reason])
        thresholds[name] = float(genuine[int(FALSE_ALARMS * genuine.size)])
        for kind in (True, False):
            judged = [item for item in test if item.clip.is_bona_fide is kind and not item.reason]
            ratios[kind][name] = np.asarray([item.raw for item in judged])
            speakers[kind] = [item.clip.speaker_id for item in judged]
    return Fold(
        generator=generator,
        genuine=ratios[True],
        synthetic=ratios[False],
        genuine_speakers=speakers[True],
        synthetic_speakers=speakers[False],
        thresholds=thresholds,
    )


def macro(folds: Sequence[Fold], detector: str, seed: int = 0) -> tuple[float, float, float]:
    """Mean equal error rate over generators and its 95 % interval: speakers are drawn, the same ones for all folds."""
    means = []
    for replicate in range(REPLICATES):
        rates = []
        for fold in folds:
            genuine = _resampled(fold.genuine[detector], fold.genuine_speakers, (seed, replicate))
            rates.append(eer(genuine, _resampled(fold.synthetic[detector], fold.synthetic_speakers, (seed, replicate))))
        means.append(np.mean(rates))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(np.mean([fold.eer(detector) for fold in folds])), float(low), float(high)


def _resampled(values: np.ndarray, speakers: Sequence[str], seed: Sequence[int]) -> np.ndarray:
    """All clips of as many drawn speakers; voices of a program are too few to draw from, and stay."""
    names, index = np.unique(np.asarray(speakers), return_inverse=True)
    if len(names) < 3:
        return values
    drawn = np.random.default_rng(list(seed)).integers(len(names), size=len(names))
    return np.concatenate([values[index == name] for name in drawn])
