"""Codec measures: an exact copy, a mixed-in distortion, a gain; identity values of the public packages."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np

from evaluation.acoustics.distortion import log_mel_distance_db, si_sdr_db
from evaluation.metrics import Skipped
from evaluation.metrics.codec_quality import pesq_wideband, stoi
from evaluation.oracles import Oracle
from evaluation.oracles._sounds import RATE_HZ, voice

__all__ = ["ORACLES"]


def _known(value: float | Skipped) -> float:
    return float("nan") if isinstance(value, Skipped) else value


def _mixed() -> float:
    """A recording with uncorrelated noise 20 dB under it."""
    speech = voice().astype(np.float64)
    noise = np.random.default_rng(4).standard_normal(len(speech))
    noise -= noise.mean()
    centred = speech - speech.mean()
    noise -= centred * (noise @ centred) / (centred @ centred)
    noise *= 0.1 * np.sqrt((centred @ centred) / (noise @ noise))
    return si_sdr_db(speech, 0.3 * (speech + noise)) or float("nan")


ORACLES = (
    Oracle(scorer="codec_quality", name="noise 20 dB under the recording, at another gain", unit="dB", expected=20.0,
           tolerance=1e-6, ask=_mixed),
    Oracle(scorer="codec_quality", name="STOI of an exact copy", unit="STOI", expected=1.0, tolerance=1e-6,
           ask=lambda: _known(stoi(voice(noise=0.01), voice(noise=0.01)))),
    Oracle(scorer="codec_quality", name="log-mel distance of a copy at half the amplitude", unit="dB", expected=6.02,
           tolerance=0.01, ask=lambda: log_mel_distance_db(voice(noise=0.01), voice(noise=0.01, gain=0.5), RATE_HZ)),
    *((Oracle(scorer="codec_quality", name="PESQ wideband of an exact copy", unit="MOS-LQO", expected=4.644,
              tolerance=0.001, ask=lambda: _known(pesq_wideband(voice(), voice()))),) if find_spec("pesq") else ()),
)  # fmt: skip
