"""Random changes to training windows, drawn without looking at the label, so that they teach no cue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detectors.channels import through_channel
from detectors.features import SAMPLE_RATE_HZ

__all__ = ["AugmentConfig", "augment_batch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentConfig:
    """How often each change is made (share of windows), and how strong it may get."""

    noise_share: float = 0.5
    snr_db: tuple[float, float] = (8.0, 40.0)
    equaliser_share: float = 0.5
    equaliser_db: float = 8.0
    low_pass_share: float = 0.35
    low_pass_hz: tuple[float, float] = (3_700.0, 7_800.0)
    reverb_share: float = 0.2
    reverb_t60_s: tuple[float, float] = (0.1, 0.5)
    gain_db: tuple[float, float] = (-25.0, 5.0)
    distortion_share: float = 0.15
    impulse_share: float = 0.1
    channel_share: float = 0.12
    channels: tuple[str, ...] = ("gsm", "gsm", "adpcm", "mu_law", "telephone", "mp3", "opus", "vorbis")
    """Names of :data:`detectors.channels.CHANNELS`; one is drawn."""


def _fast_length(size: int) -> int:
    """The next length whose Fourier transform is quick: a multiple of 2048."""
    return -(-size // 2048) * 2048


def _equaliser(config: AugmentConfig, frequency_hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random gain curve through six points spread over log frequency."""
    corners = np.log2(np.geomspace(60.0, 8_000.0, 6))
    gains_db = rng.uniform(-config.equaliser_db, config.equaliser_db, 6)
    return 10.0 ** (np.interp(np.log2(np.maximum(frequency_hz, 1.0)), corners, gains_db) / 20.0)


def _low_pass(config: AugmentConfig, frequency_hz: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    cutoff_hz, width_hz = rng.uniform(*config.low_pass_hz), rng.uniform(100.0, 800.0)
    edge = np.clip((cutoff_hz - frequency_hz) / width_hz, 0.0, 1.0)
    return 0.5 - 0.5 * np.cos(np.pi * edge) + 1e-4


def _reverb(config: AugmentConfig, size: int, rng: np.random.Generator) -> np.ndarray:
    """Spectrum of a direct sound followed by exponentially decaying noise; ``size``: of the transform."""
    t60_s = rng.uniform(*config.reverb_t60_s)
    length = int(0.6 * t60_s * SAMPLE_RATE_HZ)
    decay = 10.0 ** (-3.0 * np.arange(length) / (t60_s * SAMPLE_RATE_HZ))
    response = rng.standard_normal(length) * decay
    response *= 10.0 ** (rng.uniform(-12.0, -3.0) / 20.0) / np.sqrt(np.sum(response**2))
    response[0] = 1.0
    return np.fft.rfft(response, size)


def _noise(length: int, recordings: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A stretch of a noise recording, or coloured noise (white to brown) where the draw says so or none is given."""
    usable = [recording for recording in recordings if recording.size > length]
    if usable and rng.random() < 0.6:
        recording = usable[int(rng.integers(len(usable)))]
        start = int(rng.integers(recording.size - length))
        return recording[start : start + length].astype(np.float64)
    size = _fast_length(length)
    shape = np.maximum(np.fft.rfftfreq(size), 1e-3) ** (-rng.uniform(0.0, 1.0))
    return np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * shape, size)[:length]


def _distorted(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Weak second and third powers of the signal, as of loudspeakers (RawBoost 1, Tak et al. 2022)."""
    unit = samples / max(float(np.abs(samples).max()), 1e-9)
    second, third = rng.uniform(-0.2, 0.2), rng.uniform(-0.3, 0.3)
    return unit + second * (unit**2 - np.mean(unit**2)) + third * unit**3


def _with_impulses(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Up to 2 % of the samples moved by noise as large as themselves (RawBoost 2)."""
    count = int(rng.uniform(0.0, 0.02) * samples.size)
    places = rng.integers(0, samples.size, count)
    changed = samples.copy()
    changed[places] += rng.uniform(-0.8, 0.8, count) * samples[places]
    return changed


def _filtered(samples: np.ndarray, responses: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Through all ``responses`` (spectra of a ``size``-point transform), cut to the length it had."""
    if not responses:
        return samples
    spectrum = np.fft.rfft(samples, size)
    for response in responses:
        spectrum = spectrum * response
    return np.fft.irfft(spectrum, size)[: samples.size]


def _augment(
    window: np.ndarray, config: AugmentConfig, noises: Sequence[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    size = _fast_length(window.size + int(0.3 * SAMPLE_RATE_HZ))
    frequency_hz = np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE_HZ)
    responses = []
    if rng.random() < config.reverb_share:
        responses.append(_reverb(config, size, rng))
    if rng.random() < config.equaliser_share:
        responses.append(_equaliser(config, frequency_hz, rng))
    changed = _filtered(window, responses, size)
    if rng.random() < config.distortion_share:
        changed = _distorted(changed, rng)
    if rng.random() < config.impulse_share:
        changed = _with_impulses(changed, rng)
    if rng.random() < config.noise_share:
        noise = _noise(window.size, noises, rng)
        snr_db = rng.uniform(*config.snr_db)
        ratio = np.sqrt(np.mean(changed**2) / max(float(np.mean(noise**2)), 1e-12))
        changed = changed + noise * ratio * 10.0 ** (-snr_db / 20.0)
    if rng.random() < config.channel_share:
        channel = str(rng.choice(config.channels))
        peak = max(float(np.abs(changed).max()), 1e-9)
        changed = through_channel((changed / peak * 0.7).astype(np.float32), channel, rng).astype(np.float64)
    if rng.random() < config.low_pass_share:
        band = _low_pass(config, frequency_hz, rng)
        changed = _filtered(changed, [band], size)
    peak = max(float(np.abs(changed).max()), 1e-9)
    level = 10.0 ** (rng.uniform(*config.gain_db) / 20.0) / peak
    return np.clip(np.round(changed * level * 32767.0) / 32767.0, -1.0, 1.0).astype(np.float32)


def augment_batch(
    windows: np.ndarray, config: AugmentConfig, noises: Sequence[np.ndarray], rng: np.random.Generator
) -> np.ndarray:
    """Reverb, equaliser, distortion, noise, a channel, low-pass, then level, clipping, and 16-bit rounding.

    ``[batch, time]`` in and out; each step for a share of the windows.

    ``noises``: float32 recordings at 16 kHz; may be empty.
    """
    return np.stack([_augment(window, config, noises, rng) for window in windows])
