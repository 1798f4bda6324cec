"""From a detector's raw scores to log-likelihood ratios in nats.

An affine map fitted by prior-weighted logistic regression (Platt, 2000; Brummer's FoCal), then a bound: with
N independent clips of a class one cannot claim that something of the other class never looks like it, so each
class's likelihood is mixed with ``1 / (N + 1)`` of the other's (Laplace's rule). The map is strictly increasing,
hence leaves every ranking and every error rate as it was.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from detectors.error_rates import softplus

__all__ = ["Calibration", "fit_calibration"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """``llr = bound(scale * score + offset)`` in nats; the bound lies at ln(independent clips + 1) on each side."""

    scale: float
    offset: float
    independent_bona: int
    independent_synth: int

    def __post_init__(self) -> None:
        if not self.scale > 0.0 or not math.isfinite(self.scale) or not math.isfinite(self.offset):
            raise ValueError(
                f"calibration scale {self.scale} and offset {self.offset} must be finite, the scale above 0:"
                " higher scores mean bona fide; check the detector's polarity"
            )
        if min(self.independent_bona, self.independent_synth) < 1:
            raise ValueError("calibration was fitted on no clip of one class; give both classes")

    @property
    def highest_llr(self) -> float:
        return math.log(self.independent_synth + 1)

    @property
    def lowest_llr(self) -> float:
        return -math.log(self.independent_bona + 1)

    def __call__(self, scores: ArrayLike) -> np.ndarray:
        """Raw scores of any shape to bounded log-likelihood ratios in nats."""
        llr = self.scale * np.asarray(scores, dtype=np.float64) + self.offset
        return self.lowest_llr + softplus(llr - self.lowest_llr) - softplus(llr - self.highest_llr)

    def to_dict(self) -> dict[str, float | int]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, float | int]) -> Calibration:
        """The inverse of :meth:`to_dict`."""
        try:
            return cls(
                scale=float(values["scale"]),
                offset=float(values["offset"]),
                independent_bona=int(values["independent_bona"]),
                independent_synth=int(values["independent_synth"]),
            )
        except KeyError as error:
            raise ValueError(f"calibration lacks {error.args[0]!r}; train the detector again") from error


def fit_calibration(
    bona: ArrayLike,
    synth: ArrayLike,
    *,
    independent_bona: int | None = None,
    independent_synth: int | None = None,
    p_bona_fide: float = 0.5,
) -> Calibration:
    """Fit the map on raw scores of speakers the detector was not trained on.

    ``independent_*``: how many distinct recordings stand behind the scores (several channels of one clip are
    one recording); by default every score counts. ``p_bona_fide``: the prior at which the fit is most careful.
    Targets are smoothed by one clip per class, so that separable scores give a finite slope.

    Raises:
        ValueError: empty or non-finite scores, prior outside (0, 1), or higher scores for the synthetic class.
    """
    from sklearn.linear_model import LogisticRegression

    classes = [np.asarray(values, dtype=np.float64).ravel() for values in (bona, synth)]
    if min(values.size for values in classes) == 0 or not all(np.isfinite(values).all() for values in classes):
        raise ValueError("calibration needs finite scores of both classes; leave out clips without a score")
    if not 0.0 < p_bona_fide < 1.0:
        raise ValueError(f"p_bona_fide is {p_bona_fide}; it lies between 0 and 1")
    counts = [independent_bona or classes[0].size, independent_synth or classes[1].size]
    scores = np.concatenate(classes)
    centre, spread = float(scores.mean()), float(scores.std()) or 1.0
    sizes = [values.size for values in classes]
    prior_weights = np.repeat([p_bona_fide / sizes[0], (1.0 - p_bona_fide) / sizes[1]], sizes) * scores.size
    target = np.repeat([(counts[0] + 1) / (counts[0] + 2), 1 / (counts[1] + 2)], sizes)
    inputs = np.tile((scores - centre) / spread, 2)[:, None]
    labels = np.repeat([1, 0], scores.size)
    weights = np.concatenate([prior_weights * target, prior_weights * (1.0 - target)])
    model = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000).fit(inputs, labels, sample_weight=weights)
    scale = float(model.coef_[0, 0]) / spread
    prior_log_odds = math.log(p_bona_fide / (1.0 - p_bona_fide))
    offset = float(model.intercept_[0]) - scale * centre - prior_log_odds
    return Calibration(scale=scale, offset=offset, independent_bona=counts[0], independent_synth=counts[1])
