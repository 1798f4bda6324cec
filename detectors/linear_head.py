"""A detector that is one weighted sum of numbers about a window: each weight can be read, and fitting takes seconds.

What the numbers are is handed in, so that they may come from a model that this package does not know.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors import Measured, Verdict
from detectors.calibration import Calibration
from detectors.windowed import WindowedDetector

if TYPE_CHECKING:
    import torch

__all__ = ["HeadDetector", "LinearHead", "fit_head"]

FARTHEST = 6.0
"""Deviations from the mean beyond which a number counts no further."""
VectorsOf = Callable[[np.ndarray, Sequence[tuple[int, int]]], np.ndarray]
"""Samples of a segment at 16 kHz and windows ``(first, past)`` to ``[window, number]``."""


@dataclass(frozen=True, slots=True)
class LinearHead:
    """``score = bias + sum of weight * (number - centre) / spread``; float32 ``[number]``.

    With twice as many weights as numbers, the second half goes with the squares: numbers that are odd when they are too
    low and when they are too high, as the ratio of two Gaussians of different width has them.
    """

    centre: np.ndarray
    spread: np.ndarray
    weight: np.ndarray
    bias: float

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Scores of ``[..., number]``; higher = more likely bona fide."""
        terms = _terms(vectors, self.centre, self.spread, squares=self.weight.size > self.centre.size)
        return terms @ self.weight.astype(np.float64) + self.bias

    def tensors(self) -> dict[str, torch.Tensor]:
        """For a weights file."""
        import torch

        arrays = {"centre": self.centre, "spread": self.spread, "weight": self.weight, "bias": [self.bias]}
        return {name: torch.tensor(np.asarray(values, np.float32)) for name, values in arrays.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor], size: int) -> LinearHead:
        """The inverse of :meth:`tensors`.

        Raises:
            ValueError: not a head over ``size`` numbers.
        """
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        sizes = [{"centre": (size,), "spread": (size,), "weight": (size * n,), "bias": (1,)} for n in (1, 2)]
        if shapes not in sizes:
            raise ValueError(f"the weights are no sum of {size} numbers; fit the detector again")
        arrays = {name: tensor.float().numpy() for name, tensor in tensors.items()}
        if not bool((arrays["spread"] > 0).all()):
            raise ValueError("a spread is not above 0; fit the detector again")
        return cls(arrays["centre"], arrays["spread"], arrays["weight"], float(arrays["bias"][0]))


def fit_head(
    vectors: np.ndarray,
    is_bona_fide: np.ndarray,
    shares: np.ndarray,
    *,
    ridge: float,
    squares: bool = False,
    p_bona_fide: float = 0.5,
) -> LinearHead:
    """Prior-weighted logistic regression on ``[window, number]``; ``shares``: what each window counts within its class.

    Raises:
        ValueError: a class is missing, or a number is not finite.
    """
    from sklearn.linear_model import LogisticRegression

    if len(set(is_bona_fide.tolist())) != 2 or not np.isfinite(vectors).all():
        raise ValueError("a head needs finite numbers of windows of both classes")
    centre, spread = (values.astype(np.float32) for values in (vectors.mean(axis=0), vectors.std(axis=0) + 1e-6))
    terms = _terms(vectors, centre, spread, squares=squares)
    weights = np.zeros(len(vectors))
    for label, prior in ((True, p_bona_fide), (False, 1.0 - p_bona_fide)):
        mine = is_bona_fide == label
        weights[mine] = prior * shares[mine] / shares[mine].sum() * len(vectors)
    model: Any = LogisticRegression(C=1.0 / ridge, max_iter=2000, tol=1e-6)
    model.fit(terms, is_bona_fide.astype(int), sample_weight=weights)
    bias = float(model.intercept_[0]) - math.log(p_bona_fide / (1.0 - p_bona_fide))
    return LinearHead(centre, spread, model.coef_[0].astype(np.float32), float(np.float32(bias)))


def _terms(vectors: np.ndarray, centre: np.ndarray, spread: np.ndarray, *, squares: bool) -> np.ndarray:
    scaled = np.clip((np.asarray(vectors, np.float64) - centre) / spread, -FARTHEST, FARTHEST)
    return np.concatenate([scaled, scaled**2], axis=-1) if squares else scaled


class HeadDetector(WindowedDetector):
    """A head over numbers of windows; see :class:`detectors.Detector`.

    ``described``: ``(place in the vector, what is told of that number)``; its value is filled in by a judgement.
    """

    def __init__(
        self,
        name: str,
        vectors_of: VectorsOf,
        head: LinearHead,
        config: Mapping[str, Any],
        folder: Path | None,
        described: Sequence[tuple[int, Measured]] = (),
    ) -> None:
        super().__init__(Calibration.from_dict(config["calibration"]), config, folder)
        self.name, self.head = name, head
        self._vectors_of, self._described = vectors_of, described
        self._seen: list[np.ndarray] | None = None

    def score_windows(self, samples: np.ndarray, windows: Sequence[tuple[int, int]]) -> list[float]:
        """Uncalibrated scores of stretches of one segment."""
        return [float(score) for score in self.head(self._vectors(samples, windows))]

    def score_window(self, samples: np.ndarray) -> float:
        """Uncalibrated score of 1 to 2 s at 16 kHz, float32 ``[time]``."""
        return self.score_windows(samples, [(0, samples.size)])[0]

    def _vectors(self, samples: np.ndarray, windows: Sequence[tuple[int, int]]) -> np.ndarray:
        vectors = self._vectors_of(samples, windows) if windows else np.zeros((0, self.head.centre.size))
        if self._seen is not None:
            self._seen.append(vectors)
        return vectors

    def score_frames(self, samples: np.ndarray, windows: Sequence[tuple[int, int]]) -> list[float]:
        """As :meth:`score_windows`; the short windows are left out of what is told to the reader."""
        return [float(score) for score in self.head(self._vectors_of(samples, windows))] if windows else []

    def judge_blocks(self, blocks: Iterable[np.ndarray], sample_rate_hz: int, *, frames: bool = False) -> Verdict:
        """As :meth:`WindowedDetector.judge_blocks`, with the numbers behind the ratio."""
        call = copy.copy(self)  # what one judgement sees is its own
        call._seen = []
        verdict = WindowedDetector.judge_blocks(call, blocks, sample_rate_hz, frames=frames)
        if verdict.llr is None or not self._described:
            return verdict
        means = np.concatenate(call._seen).mean(axis=0)
        measured = tuple(replace(number, value=float(means[place])) for place, number in self._described)
        return replace(verdict, measured=measured)

    def describe(self) -> Mapping[str, object]:
        """As every detector, and the parts of which model it was fitted to."""
        return {**super().describe(), "model_parts": dict(self._config.get("model_parts", {}))}
