"""Detectors as they will be loaded, and what they say of held-out and test clips: alone, and put together.

How much say each part of the shipped fusion has stands here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from detectors.assessment import ScoredClip
from detectors.fusion import PartSum
from detectors.lfcc_gmm import CLASSES, LfccGmmDetector
from detectors.lfcc_gmm import PARTS as MIXTURE_PARTS
from detectors.network_detector import NetworkDetector
from detectors.windowed import WindowedDetector
from evaluation.detector_fusion import BASE, IDENTITY, PARTS, clip_scores, fuse, with_scores
from evaluation.detector_windows import WindowSet

__all__ = ["FUSED", "Scored", "Together", "part_detector"]

FUSED = ("mel_cnn", "mel_kinds", "fine_statistics")
"""The parts of the fusion; the others are detectors of their own, and add nothing to these three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """How parts are put together, by name.

    ``shares``: how much say, 1 where not named. ``most``: nats that a part may say for genuine speech in any window,
    without bound where not named. ``window_share``: windows for every clip in the calibration.
    """

    shares: Mapping[str, float]
    most: Mapping[str, float]
    window_share: float


SHIPPED = Together(
    shares={"mel_cnn": 2.0, "fine_statistics": 6.0},
    most={"mel_cnn": math.log(2.0), "mel_kinds": math.log(2.0)},
    window_share=0.5,
)
"""Networks over mel bands take for a person what is like nothing they were shown, so they are bounded. A part alone,
which judges the timeline's windows too, is calibrated on as many windows as clips."""


def part_detector(name: str, weights: Mapping[str, Tensor]) -> WindowedDetector:
    """One of ``PARTS`` with these weights as it will be loaded, without calibration.

    Raises:
        ValueError: a part that is no network and no mixture.
    """
    config = {**BASE, "calibration": IDENTITY.to_dict()}
    if name == "lfcc_gmm":
        mixtures = {kind: {part: weights[f"{kind}.{part}"].numpy() for part in MIXTURE_PARTS} for kind in CLASSES}
        return LfccGmmDetector(mixtures, IDENTITY, config, None)
    make = PARTS[name].network
    if make is None:
        raise ValueError(f"{name} has no network; add how it is made")
    network = make()
    network.load_state_dict(dict(weights))
    return NetworkDetector(name, network, PARTS[name].features, config, None)


@dataclass(frozen=True, slots=True)
class Scored:
    """Scores of all parts: held-out and test clips with ``[window, part]`` of each; augmented windows, held out."""

    parts: Mapping[str, WindowedDetector]
    held: tuple[Sequence[ScoredClip], Sequence[np.ndarray]]
    test: tuple[Sequence[ScoredClip], Sequence[np.ndarray]]
    windows: WindowSet
    window_scores: np.ndarray

    def alone(self, name: str) -> tuple[list[ScoredClip], list[ScoredClip], PartSum]:
        """Held-out and test clips with the ratio of one part in nats, and what makes it of the part's score."""
        return self._of([name])

    def together(
        self, names: Sequence[str] = FUSED, how: Together = SHIPPED
    ) -> tuple[list[ScoredClip], list[ScoredClip], PartSum]:
        """The same for several parts together."""
        shares, most = ([how.shares.get(name, 1.0) for name in names], [how.most.get(name, np.inf) for name in names])
        return self._of(names, shares, how.window_share, most)

    def _of(self, names: Sequence[str], *how: Any) -> tuple[list[ScoredClip], list[ScoredClip], PartSum]:
        columns = [list(self.parts).index(name) for name in names]
        held, test = ([rows[:, columns] for rows in scores] for _, scores in (self.held, self.test))
        fused = fuse(self.held[0], held, self.windows, self.window_scores[:, columns], *how)
        first, second = (
            with_scores(items, clip_scores(scores, fused))
            for items, scores in ((self.held[0], held), (self.test[0], test))
        )
        return first, second, fused
