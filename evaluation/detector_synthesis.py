"""Synthetic speech made from recordings, to train detectors on: three vocoders that need no trained model.

Each takes and gives float32 ``[time]`` at 16 kHz, same length, and is deterministic given the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from scipy.signal import istft, stft

from evaluation.detector_levels import at_level_of

__all__ = ["VOCODERS", "cepstral_vocoder", "griffin_lim", "levinson", "lpc_vocoder"]

RATE_HZ = 16_000
FRAME, HOP, FFT = 400, 100, 512
F0_LOW_HZ, F0_HIGH_HZ = 65.0, 400.0


def griffin_lim(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Back from an 80-band mel spectrogram by Griffin-Lim phase reconstruction (10 to 32 iterations)."""
    import torch
    import torchaudio

    signal = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    bands = int(rng.choice([64, 80, 100]))
    filters = torchaudio.functional.melscale_fbanks(513, 0.0, 8_000.0, bands, RATE_HZ)  # [bin, band]
    hop = int(rng.choice([160, 200, 256]))
    window = torch.hann_window(800)
    power = torch.stft(signal, 1024, hop, 800, window, return_complex=True).abs().square()
    mel = filters.T @ power
    magnitude = (torch.linalg.pinv(filters.T) @ mel).clamp_min(1e-10).sqrt()
    angle = torch.from_numpy(rng.uniform(-np.pi, np.pi, tuple(magnitude.shape)).astype(np.float32))
    estimate = torch.polar(magnitude, angle)
    previous = torch.zeros_like(estimate)
    for _ in range(int(rng.integers(10, 33))):
        rebuilt = torch.istft(estimate, 1024, hop, 800, window, length=signal.numel())
        current = torch.stft(rebuilt, 1024, hop, 800, window, return_complex=True)
        step = current - 0.497 * previous  # Perraudin et al. (2013), momentum 0.99
        estimate = magnitude * step / step.abs().clamp_min(1e-12)
        previous = current
    return torch.istft(estimate, 1024, hop, 800, window, length=signal.numel()).numpy()


def _frames(samples: np.ndarray, size: int) -> np.ndarray:
    padded = np.pad(samples.astype(np.float64), (size // 2, size))
    count = samples.size // HOP + 1
    return np.lib.stride_tricks.sliding_window_view(padded, size)[::HOP][:count]


def _pitch(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``(f0_hz, voicing)`` per frame by autocorrelation over 40 ms; voicing in [0, 1], f0 median-smoothed."""
    frames = _frames(samples, 640) * np.hanning(640)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 2048)) ** 2)[:, :640]
    window_correlation = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(640), 2048)) ** 2)[:640]
    low, high = int(RATE_HZ / F0_HIGH_HZ), int(RATE_HZ / F0_LOW_HZ)
    normalised = (
        correlation[:, low:high]
        / (correlation[:, :1] + 1e-9)
        / window_correlation[low:high]
        * np.max(window_correlation)
    )
    lag = normalised.argmax(axis=1) + low
    voicing = np.clip(normalised.max(axis=1), 0.0, 1.0)
    f0_hz = RATE_HZ / lag
    neighbours = np.lib.stride_tricks.sliding_window_view(np.pad(f0_hz, 3, mode="edge"), 7)
    return np.median(neighbours, axis=1), voicing


def _excitation(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pulses at the pitch where voiced, white noise elsewhere, unit power; the pitch is scaled by 0.85 to 1.2."""
    f0_hz, voicing = _pitch(samples)
    time = np.arange(samples.size) / HOP
    frame = np.arange(f0_hz.size)
    phase = np.cumsum(np.interp(time, frame, f0_hz * rng.uniform(0.85, 1.2))) / RATE_HZ
    strikes = np.flatnonzero(np.diff(np.floor(phase), prepend=0.0) > 0)
    pulses = np.zeros(samples.size)
    periods = np.diff(strikes, prepend=0)
    pulses[strikes] = np.sqrt(np.maximum(periods, 1))
    threshold = rng.uniform(0.4, 0.6)
    voiced = np.interp(time, frame, (voicing > threshold).astype(np.float64))
    return pulses * voiced + rng.standard_normal(samples.size) * (1.0 - voiced * rng.uniform(0.8, 1.0))


def _filtered(excitation: np.ndarray, magnitude: np.ndarray, length: int) -> np.ndarray:
    """Excitation through one magnitude response per frame ``[frame, bin]``, by short-time Fourier overlap-add."""
    _, _, spectrum = stft(excitation, RATE_HZ, "hann", FRAME, FRAME - HOP, FFT)
    frames = min(spectrum.shape[1], magnitude.shape[0])
    _, output = istft(spectrum[:, :frames] * magnitude[:frames].T, RATE_HZ, "hann", FRAME, FRAME - HOP, FFT)
    output = np.pad(output[:length], (0, max(0, length - output.size)))
    return output


def levinson(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Prediction-error filters ``[frame, lag]`` (first tap 1) and residual power ``[frame]`` of autocorrelations.

    Levinson-Durbin recursion over all frames at once; ``correlation``: ``[frame, lag]``, positive at lag 0.
    """
    polynomial = np.zeros_like(correlation)
    polynomial[:, 0] = 1.0
    power = correlation[:, 0].copy()
    for lag in range(1, correlation.shape[1]):
        mismatch = np.sum(polynomial[:, :lag] * correlation[:, lag:0:-1], axis=1)
        reflection = (-mismatch / power)[:, None]
        polynomial[:, 1 : lag + 1] += reflection * polynomial[:, lag - 1 :: -1][:, :lag]
        power = power * (1.0 - reflection[:, 0] ** 2)
    return polynomial, power


def lpc_vocoder(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Linear prediction (order 14 to 22) driven by pulses and noise, as in classical low-rate speech coders."""
    order = int(rng.integers(14, 23))
    frames = _frames(samples, FRAME) * np.hanning(FRAME)
    correlation = np.fft.irfft(np.abs(np.fft.rfft(frames, 1024)) ** 2)[:, : order + 1]
    polynomial, power = levinson(correlation * np.r_[1.0 + 1e-4, np.ones(order)] + 1e-9 * np.eye(1, order + 1))
    magnitude = np.sqrt(power)[:, None] / np.abs(np.fft.rfft(polynomial, FFT))
    return at_level_of(_filtered(_excitation(samples, rng), magnitude, samples.size), samples)


def cepstral_vocoder(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Spectral envelope by cepstral smoothing, driven by pulses and noise (in the manner of STRAIGHT and WORLD)."""
    frames = _frames(samples, FRAME) * np.hanning(FRAME)
    log_magnitude = np.log(np.abs(np.fft.rfft(frames, FFT)) + 1e-5)
    cepstrum = np.fft.irfft(log_magnitude)
    keep = int(rng.integers(24, 41))
    lifter = np.zeros(FFT)
    lifter[:keep] = lifter[-keep + 1 :] = 1.0
    magnitude = np.exp(np.fft.rfft(cepstrum * lifter).real)
    return at_level_of(_filtered(_excitation(samples, rng), magnitude, samples.size), samples)


VOCODERS: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = MappingProxyType(
    {"griffin_lim": griffin_lim, "lpc_vocoder": lpc_vocoder, "cepstral_vocoder": cepstral_vocoder}
)
