"""Probes for shortcuts: can one number about the recording, not the speech, tell the classes of a data set apart?

A detector trained on such a set may have learnt the number. Each probe is measured on the windows that the network is
shown, after augmentation. A set on which any probe passes ``UNFAIR_AUC`` is called unfair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

from detectors.features import SAMPLE_RATE_HZ
from detectors.preparation import active_frames, speech_span

__all__ = ["PROBES", "UNFAIR_AUC", "audit_shortcuts"]

UNFAIR_AUC = 0.65
FRAME = 320
TINY = 1e-12


def _frame_levels_db(samples: np.ndarray) -> np.ndarray:
    frames = samples[: samples.size // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    return 10.0 * np.log10(np.mean(frames**2, axis=1) + TINY)


def _silence_before(samples: np.ndarray) -> float:
    return speech_span(active_frames(samples))[0] / SAMPLE_RATE_HZ


def _silence_after(samples: np.ndarray) -> float:
    past = speech_span(active_frames(samples))[1]
    return (samples.size - past) / SAMPLE_RATE_HZ


def _bandwidth(samples: np.ndarray) -> float:
    """Frequency in Hz below which 99.9 % of the power lies."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float(np.searchsorted(np.cumsum(power), 0.999 * power.sum()) * SAMPLE_RATE_HZ / samples.size)


def _high_band(samples: np.ndarray) -> float:
    """Level above 7 kHz against the whole, in dB."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    first = int(7_000.0 * samples.size / SAMPLE_RATE_HZ)
    return float(10.0 * np.log10((power[first:].sum() + TINY) / (power.sum() + TINY)))


PROBES: Mapping[str, Callable[[np.ndarray], float]] = MappingProxyType(
    {
        "length_s": lambda samples: samples.size / SAMPLE_RATE_HZ,
        "silence_before_s": _silence_before,
        "silence_after_s": _silence_after,
        "silent_share": lambda samples: 1.0 - float(np.mean(active_frames(samples)) if samples.size >= FRAME else 0.0),
        "level_dbfs": lambda samples: float(10.0 * np.log10(np.mean(samples.astype(np.float64) ** 2) + TINY)),
        "peak": lambda samples: float(np.abs(samples).max()),
        "offset": lambda samples: float(np.mean(samples.astype(np.float64))),
        "noise_floor_db": lambda samples: float(np.percentile(levels := _frame_levels_db(samples), 5) - levels.max()),
        "bandwidth_hz": _bandwidth,
        "high_band_db": _high_band,
        "zero_share": lambda samples: float(np.mean(samples == 0.0)),
    }
)


def _auc(bona: np.ndarray, synth: np.ndarray) -> float:
    """Chance that a bona fide value is the larger one, ties counting half; the better of the two directions."""
    merged = np.sort(synth)
    below = np.searchsorted(merged, bona, side="left") + np.searchsorted(merged, bona, side="right")
    auc = float(below.mean() / (2.0 * synth.size))
    return max(auc, 1.0 - auc)


def audit_shortcuts(windows: list[np.ndarray], is_bona_fide: np.ndarray) -> dict[str, float]:
    """AUC of each probe, 0.5 to 1, on windows of float32 ``[time]`` at 16 kHz.

    Raises:
        ValueError: one class is missing, or lengths disagree.
    """
    labels = np.asarray(is_bona_fide, dtype=bool)
    if len(windows) != labels.size or labels.all() or not labels.any():
        raise ValueError(f"{len(windows)} windows, {labels.size} labels: give one label each, and both classes")
    found = {}
    for name, probe in PROBES.items():
        values = np.asarray([probe(window) for window in windows])
        found[name] = _auc(values[labels], values[~labels])
    return found
