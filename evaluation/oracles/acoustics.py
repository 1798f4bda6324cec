"""Acoustic measures: gains, noises, filters, pitches and rates that were put in must be read back."""

from __future__ import annotations

import numpy as np
from scipy.signal import fftconvolve, firwin, lfilter

from evaluation.acoustics.reverberation import decay_time_s
from evaluation.acoustics.spectrum import long_term_spectrum_db, tilt_db_per_octave
from evaluation.metrics.acoustic_consistency import METRIC as CONSISTENCY
from evaluation.metrics.acoustic_consistency_f0 import METRIC as F0
from evaluation.metrics.acoustic_consistency_timbre import METRIC as TIMBRE
from evaluation.metrics.pitch import METRIC as PITCH
from evaluation.metrics.seam import METRIC as SEAM
from evaluation.metrics.signal_quality import METRIC as QUALITY
from evaluation.metrics.speech_likeness import METRIC as SPEECH
from evaluation.oracles import Oracle
from evaluation.oracles._sounds import RATE_HZ, value_of, voice

__all__ = ["ORACLES"]


def _white() -> np.ndarray:
    return 0.05 * np.random.default_rng(2).standard_normal(4 * RATE_HZ)


def _tilt_of_one_pole() -> float:
    """A first-order low-pass falls by 6.02 dB per octave."""
    spectrum = long_term_spectrum_db(np.asarray(lfilter([1.0], [1.0, -0.99], _white())), RATE_HZ)
    return float("nan") if spectrum is None else tilt_db_per_octave(spectrum)


def _low_passed() -> float:
    filtered = fftconvolve(_white(), firwin(1023, 4000.0, fs=RATE_HZ), mode="same")
    return value_of(QUALITY, "bandwidth_hz", filtered.astype(np.float32))


def _syllables(rate: float) -> np.ndarray:
    time = np.arange(6 * RATE_HZ) / RATE_HZ
    tone = np.sum([np.sin(2 * np.pi * 120.0 * k * time + k) / k for k in range(1, 40)], axis=0)
    return (0.05 * tone * (0.05 + np.clip(np.sin(2 * np.pi * rate * time), 0.0, 1.0))).astype(np.float32)


def _rooms_in_order() -> float:
    """Steps of four rooms (0.2 to 0.7 s) whose decay reads longer than that of the room before."""
    generator = np.random.default_rng(3)
    time = np.arange(12 * RATE_HZ) / RATE_HZ
    bursts = generator.standard_normal(len(time)) * 0.1 * ((time % 0.8) < 0.15)
    found = []
    for decay_s in (0.2, 0.35, 0.5, 0.7):
        response = np.arange(int(decay_s * RATE_HZ)) / RATE_HZ
        echoes = generator.standard_normal(len(response)) * 10 ** (-3.0 * response / decay_s)
        found.append(decay_time_s(fftconvolve(bursts, echoes)[: len(time)], RATE_HZ) or 0.0)
    return float(np.sum(np.diff(found) > 0))


def _of(scorer: str, name: str, unit: str, expected: float, tolerance: float, ask) -> Oracle:
    return Oracle(scorer=scorer, name=name, unit=unit, expected=expected, tolerance=tolerance, ask=ask)


ORACLES = (
    _of("acoustic_consistency", "half the amplitude", "LU", 6.02, 0.05,
        lambda: value_of(CONSISTENCY, "loudness_difference_lu", voice(gain=0.5), prompt=voice())),
    _of("acoustic_consistency", "ten times the noise", "dB", 20.0, 0.5,
        lambda: value_of(CONSISTENCY, "noise_floor_difference_db", voice(noise=1e-2), prompt=voice())),
    _of("acoustic_consistency", "a clip against itself", "dB", 0.0, 0.0,
        lambda: value_of(CONSISTENCY, "snr_difference_db", voice(), prompt=voice())),
    _of("acoustic_consistency_f0", "a fourth higher", "semitones", 5.0, 0.05,
        lambda: value_of(F0, "f0_difference_semitones", voice(120.0 * 2 ** (5 / 12)), prompt=voice())),
    _of("acoustic_consistency_timbre", "tilt of a first-order low-pass", "dB per octave", -6.02, 0.4,
        _tilt_of_one_pole),
    _of("acoustic_consistency_timbre", "six against three syllables a second", "syllables per s", 3.0, 0.2,
        lambda: value_of(TIMBRE, "speaking_rate_difference", _syllables(6.0), prompt=_syllables(3.0))),
    _of("acoustic_consistency_timbre", "rooms in order of their decay", "steps of 3", 3.0, 0.0, _rooms_in_order),
    _of("pitch", "harmonics of 120 Hz", "Hz", 120.0, 0.5, lambda: value_of(PITCH, "f0_median_hz", voice())),
    _of("signal_quality", "low-pass at 4 kHz", "Hz", 4000.0, 100.0, _low_passed),
    _of("signal_quality", "full-scale sine", "LUFS", -3.01, 0.2,
        lambda: value_of(QUALITY, "loudness_lufs", np.sin(2 * np.pi * 1000.0 * np.arange(2 * RATE_HZ) / RATE_HZ))),
    _of("seam", "level jump of 12 dB is found", "flag", 1.0, 0.0,
        lambda: value_of(SEAM, "seam_found", 0.25 * _white(), prompt=_white())),
    _of("seam", "the prompt's own end played backwards", "flag", 0.0, 0.0,
        lambda: value_of(SEAM, "seam_found", _white()[::-1], prompt=_white())),
    _of("speech_likeness", "a second and a half of silence", "s", 1.5, 0.1,
        lambda: value_of(SPEECH, "longest_silence_s",
                         np.concatenate([voice(seconds=1.7), np.zeros(int(1.5 * RATE_HZ)), voice(seconds=1.7)]))),
)  # fmt: skip
