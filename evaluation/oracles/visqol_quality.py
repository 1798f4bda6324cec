"""ViSQOL: an exact copy and a noisy one, with what the package's lattice network gives; the polynomial gives 5.00."""

from __future__ import annotations

import numpy as np

from evaluation.metrics import Skipped
from evaluation.metrics.visqol_quality import METRIC, new_judge, visqol_speech
from evaluation.oracles import Oracle
from evaluation.oracles._sounds import voice

__all__ = ["ORACLES"]


def _opinion(noise_db: float | None) -> float:
    """Of a made voice against itself, or with white noise so many dB under it."""
    speech = voice(noise=0.01).astype(np.float64)
    noise = np.zeros(len(speech))
    if noise_db is not None:
        noise = np.random.default_rng(0).standard_normal(len(speech))
        noise *= np.sqrt((speech @ speech) / (noise @ noise) / 10 ** (noise_db / 10))
    found = visqol_speech(new_judge(), speech, speech + noise)
    return float("nan") if isinstance(found, Skipped) else found["visqol_speech"]


ORACLES = (
    Oracle(scorer="visqol", name="an exact copy of a made voice", unit="MOS-LQO", expected=4.139, tolerance=0.01,
           ask=lambda: _opinion(None)),
    Oracle(scorer="visqol", name="white noise 10 dB under it", unit="MOS-LQO", expected=2.755, tolerance=0.05,
           ask=lambda: _opinion(10.0)),
) if METRIC.status()[0] == "ready" else ()  # fmt: skip
