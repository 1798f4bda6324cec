"""Speaker measures: a clip is its own speaker at any gain; verification rates of two Gaussians have a closed form."""

from __future__ import annotations

import numpy as np
from scipy import special

from evaluation.metrics.speaker_drift import METRIC as DRIFT
from evaluation.metrics.speaker_similarity import METRIC
from evaluation.oracles import Oracle
from evaluation.oracles._sounds import RATE_HZ, value_of, voice
from evaluation.speaker.calibration import equal_error_rate, fit_log_ratio
from evaluation.speaker.closed_set import train_closed_set

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


def _told_apart() -> float:
    """Share of four unheard clips of two made-up voices that a classifier trained on others gives to the right one."""
    voices = {"low": (90.0, 100.0, 110.0), "high": (240.0, 260.0, 280.0)}
    judge = train_closed_set(
        {name: [voice(f0, seconds=2.0) for f0 in f0s] for name, f0s in voices.items()}, 0, steps=25
    )
    asked = (("low", 95.0), ("low", 105.0), ("high", 250.0), ("high", 270.0))
    return float(np.mean([judge.who(voice(f0, seconds=2.0)) == name for name, f0 in asked]))


ORACLES = (
    Oracle(scorer="speaker_classification", name="unheard clips of two made-up voices", unit="share", expected=1.0,
           tolerance=0.0, ask=_told_apart),
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
