"""Speaker measures: a clip is its own speaker at any gain; verification rates of two Gaussians have a closed form."""

from __future__ import annotations

import numpy as np
from scipy import special

from evaluation.metrics.speaker_drift import METRIC as DRIFT
from evaluation.metrics.speaker_similarity import METRIC
from evaluation.oracles import Oracle
from evaluation.oracles._sounds import RATE_HZ, value_of, voice
from evaluation.speaker.calibration import equal_error_rate, fit_log_ratio

__all__ = ["ORACLES"]

DISTANCE = 2.0


def _trials() -> tuple[np.ndarray, np.ndarray]:
    """Scores at the quantiles of two normal distributions, ``DISTANCE`` apart."""
    quantiles = special.ndtri((np.arange(4000) + 0.5) / 4000)
    return quantiles + DISTANCE, quantiles


def _first_window() -> float:
    """The prompt is the clip's own first window."""
    clip = voice(seconds=4.0)
    return value_of(DRIFT, "first_cosine", clip, prompt=clip[: int(1.6 * RATE_HZ)])


ORACLES = (
    Oracle(scorer="speaker_drift", name="prompt and first window are one sound", unit="cosine", expected=1.0,
           tolerance=1e-4, ask=_first_window),
    Oracle(scorer="speaker_similarity", name="a clip and itself at half the amplitude", unit="cosine", expected=1.0,
           tolerance=1e-4, ask=lambda: value_of(METRIC, "cosine", voice(gain=0.5), prompt=voice())),
    Oracle(scorer="speaker_similarity", name="equal error rate of two Gaussians two deviations apart", unit="share",
           expected=float(special.ndtr(-DISTANCE / 2)), tolerance=1e-3,
           ask=lambda: equal_error_rate(*_trials()).rate),
    Oracle(scorer="speaker_similarity", name="slope of their log-likelihood ratio", unit="log10 per unit",
           expected=DISTANCE / float(np.log(10.0)), tolerance=5e-3, ask=lambda: fit_log_ratio(*_trials()).slope),
)  # fmt: skip
