"""Several detectors as one: a weighted sum of their scores, fitted by prior-weighted logistic regression.

The parts look at different sides of a sound (mel bands over time, linear-frequency cepstra, fine temporal structure),
err on different clips, and are folders of their own that also work alone. A part may be kept from speaking for genuine
speech beyond a ceiling: that a robot's voice is unlike all generators shown does not make it a person's. Where in a
recording something changes is judged by the quickest part alone, on the same scale.
"""

from __future__ import annotations

import hashlib
import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detectors import Verdict
from detectors.artefacts import read_config, reading
from detectors.calibration import Calibration
from detectors.features import SAMPLE_RATE_HZ
from detectors.localisation import AROUND_S, find_segments, seams
from detectors.windowed import WindowedDetector

__all__ = ["DETECTOR", "SHIPPED", "FusionDetector", "PartSum", "fit_fusion"]

PRETRAINED = Path(__file__).parent / "pretrained"
SHIPPED = PRETRAINED / "fusion"
PART_NAMES = ("fine_statistics", "lfcc_gmm", "lfcc_lcnn", "mel_cnn", "mel_kinds")
"""What a fusion may be made of: the detectors of one network or mixture."""
RIDGE = 1e-2


def fit_fusion(bona: np.ndarray, synth: np.ndarray, *, p_bona_fide: float = 0.5) -> tuple[np.ndarray, float]:
    """Weights and offset of a log-likelihood ratio in nats from part scores ``[clip, part]`` of the two classes.

    Weights are kept from falling below zero: a part with its sign turned would have learnt the held-out clips, not
    speech. A part that would is left out, and the rest fitted again.

    Raises:
        ValueError: a class is empty, scores are not finite, or no part ranks bona fide speech higher.
    """
    from sklearn.linear_model import LogisticRegression

    classes = [np.asarray(values, np.float64) for values in (bona, synth)]
    if min(len(values) for values in classes) == 0 or not all(np.isfinite(values).all() for values in classes):
        raise ValueError("fusion needs finite scores of both classes; leave out clips without a score")
    if not 0.0 < p_bona_fide < 1.0:
        raise ValueError(f"p_bona_fide is {p_bona_fide}; it lies between 0 and 1")
    scores = np.concatenate(classes)
    sizes = [len(values) for values in classes]
    weights = np.repeat([p_bona_fide / sizes[0], (1.0 - p_bona_fide) / sizes[1]], sizes) * len(scores)
    labels = np.repeat([1, 0], sizes)
    spread = np.asarray([column.std() + 1e-9 for column in scores.T])
    used = list(range(scores.shape[1]))
    while used:
        model: Any = LogisticRegression(C=1.0 / RIDGE, max_iter=1000)
        model.fit((scores / spread)[:, used], labels, sample_weight=weights)
        lowest = int(np.argmin(model.coef_[0]))
        if model.coef_[0, lowest] > 0.0:
            found = np.zeros(scores.shape[1])
            found[used] = model.coef_[0] / spread[used]
            return found, float(model.intercept_[0]) - math.log(p_bona_fide / (1.0 - p_bona_fide))
        del used[lowest]
    raise ValueError("no part ranks bona fide speech above synthetic; check their polarity")


@dataclass(frozen=True, slots=True)
class PartSum:
    """Part scores ``[..., part]``, none above its ceiling (infinity: none), weighted to ratios in nats, unbounded."""

    weights: np.ndarray
    offset: float
    ceilings: np.ndarray

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        return np.minimum(scores, self.ceilings) @ self.weights + self.offset


class FusionDetector(WindowedDetector):
    """Loaded parts with their weights; see :class:`detectors.Detector`. Scores are ratios in nats before the bound."""

    name = "fusion"

    def __init__(self, parts: Mapping[str, WindowedDetector], config: Mapping[str, Any], folder: Path | None) -> None:
        super().__init__(Calibration.from_dict(config["calibration"]), config, folder)
        self.parts, self.frame_part = parts, str(config["frame_part"])
        weights = np.asarray([float(config["weights"][name]) for name in parts])
        ceilings = config.get("ceilings", {})
        highest = np.asarray([float(ceilings.get(name, np.inf)) for name in parts])
        self.fused = PartSum(weights, float(config["offset"]), highest)

    def score_parts(self, samples: np.ndarray, windows: Sequence[tuple[int, int]]) -> np.ndarray:
        """Each part's uncalibrated score of each window of one segment, ``[window, part]``."""
        columns = [part.score_windows(samples, windows) for part in self.parts.values()]
        return np.asarray(columns, np.float64).reshape(len(columns), len(windows)).T

    def score_windows(self, samples: np.ndarray, windows: Sequence[tuple[int, int]]) -> list[float]:
        """Fused scores of stretches of one segment."""
        return [float(score) for score in self.fused(self.score_parts(samples, windows))]

    def score_window(self, samples: np.ndarray) -> float:
        """Fused score of 1 to 2 s at 16 kHz, float32 ``[time]``."""
        return self.score_windows(samples, [(0, samples.size)])[0]

    def score_frames(self, samples: np.ndarray, windows: Sequence[tuple[int, int]]) -> list[float]:
        """By the part named ``frame_part``; near the seams that it finds, by all, which place them better.

        Each part is calibrated by itself. All parts everywhere would cost too much.
        """
        ratios = self._ratios(self.frame_part, samples, windows)
        frames = [
            (first / SAMPLE_RATE_HZ, past / SAMPLE_RATE_HZ, ratio)
            for (first, past), ratio in zip(windows, ratios, strict=True)
        ]
        found = seams(find_segments(frames, self.threshold_llr))
        near = [
            k for k, (begin, end, _) in enumerate(frames) if any(begin - AROUND_S < at < end + AROUND_S for at in found)
        ]
        chosen = [windows[k] for k in near]
        others = [self._ratios(name, samples, chosen) for name in self.parts if name != self.frame_part]
        for place, index in enumerate(near):
            ratios[index] = (ratios[index] + sum(other[place] for other in others)) / len(self.parts)
        return ratios

    def _ratios(self, name: str, samples: np.ndarray, windows: Sequence[tuple[int, int]]) -> list[float]:
        part = self.parts[name]
        scale, offset = part.calibration.scale, part.calibration.offset
        return [scale * score + offset for score in part.score_windows(samples, windows)]

    def judge_blocks(self, blocks: Iterable[np.ndarray], sample_rate_hz: int, *, frames: bool = False) -> Verdict:
        """As :meth:`WindowedDetector.judge_blocks`, with each part's own ratio as evidence."""
        call = _Call(self)
        verdict = WindowedDetector.judge_blocks(call, blocks, sample_rate_hz, frames=frames)
        if verdict.llr is None:
            return verdict
        means = np.concatenate(call.seen).mean(axis=0)
        evidence = tuple(
            (name, float(part.calibration(mean))) for (name, part), mean in zip(self.parts.items(), means, strict=True)
        )
        return replace(verdict, evidence=evidence)

    def describe(self) -> Mapping[str, object]:
        """As every detector, and which parts weigh how much; the digest is that of all parts' weights together."""
        parts = {name: dict(part.describe()) for name, part in self.parts.items()}
        weights = dict(zip(self.parts, map(float, self.fused.weights), strict=True))
        ceilings = {name: float(value) for name, value in zip(self.parts, self.fused.ceilings, strict=True)}
        together = ",".join(str(about["weights_sha256"]) for about in parts.values())
        digest = hashlib.sha256(together.encode()).hexdigest()
        return {
            **super().describe(),
            "weights_sha256": digest,
            "weights": weights,
            "ceilings": {name: value for name, value in ceilings.items() if np.isfinite(value)},
            "offset": self.fused.offset,
            "parts": parts,
        }


class _Call(FusionDetector):
    """One judgement: keeps what the parts said of each window."""

    def __init__(self, whole: FusionDetector) -> None:
        super().__init__(whole.parts, whole._config, whole._folder)
        self.seen: list[np.ndarray] = []

    def score_parts(self, samples: np.ndarray, windows: Sequence[tuple[int, int]]) -> np.ndarray:
        scores = super().score_parts(samples, windows)
        self.seen.append(scores)
        return scores


class _Entry:
    name = "fusion"

    def load(self, path: str | None = None, device: str = "cpu") -> FusionDetector:
        """The shipped detector, or the one saved in folder ``path``, whose parts are folders beside it.

        Raises:
            ValueError: a file is missing or altered, or a part is not the one the weights were fitted to.
        """
        folder = Path(path) if path is not None else SHIPPED
        config = read_config(folder)
        parts = {}
        with reading(folder):
            for name, digest in config["parts"].items():
                if name not in PART_NAMES:
                    raise ValueError(f"{folder}: has a part {name[:80]!r}; parts are {', '.join(PART_NAMES)}")
                entry = importlib.import_module(f"detectors.{name}").DETECTOR
                parts[name] = entry.load(str(folder.parent / name), device)
                if parts[name].describe()["weights_sha256"] != digest:
                    raise ValueError(f"{folder}: its part {name} has other weights than it was fitted to; fit it again")
            return FusionDetector(parts, config, folder)


DETECTOR = _Entry()
