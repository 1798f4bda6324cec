"""Speech made anew as harmonics and noise, with everything that such vocoders differ in drawn at random.

Vocoders that know pitch and envelope (WORLD, STRAIGHT, codecs of a few kilobits, networks fed with a sine) share what
they lose: the phases among harmonics, the noise between them, fast changes of either. Amplitudes come from a smoothed
spectrum, pitch from YIN; how smooth, how often, how much noise and which phases is drawn for each clip.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import istft, stft

from evaluation.acoustics.f0 import STEP_S, WINDOW_S, track_pitch
from evaluation.detector_levels import at_level_of

__all__ = ["SIZE", "STEPS", "drawn_pitch", "harmonics_drawn", "said_by_harmonics", "smoothed_envelope"]

RATE_HZ = 16_000
HIGHEST_HZ = 7_800.0
SIZE = 1024
STEPS = (64, 80, 128, 160, 200)
"""Samples between amplitudes, one is drawn."""
TINY = 1e-7


def harmonics_drawn(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Float32 ``[time]`` at 16 kHz said again by a vocoder that is drawn; same length and level."""
    pitch_hz, voiced = drawn_pitch(samples, rng)
    step = int(rng.choice(STEPS))
    made = said_by_harmonics(smoothed_envelope(samples, step, rng), pitch_hz, voiced, step, rng)
    return at_level_of(made, samples)


def said_by_harmonics(
    envelope: np.ndarray, pitch_hz: np.ndarray, voiced: np.ndarray, step: int, rng: np.random.Generator
) -> np.ndarray:
    """Amplitudes ``[frame, bin]`` every ``step`` samples, pitch in Hz and how voiced ``[time]``, made to sound."""
    edge_hz, width_hz = float(rng.uniform(1_500.0, 8_500.0)), float(rng.uniform(200.0, 2_000.0))
    least = float(rng.choice([0.0, 0.0, 0.02, 0.1]))
    bins_hz = np.linspace(0.0, RATE_HZ / 2, envelope.shape[1])
    noisy = np.clip(1.0 / (1.0 + np.exp(-(bins_hz - edge_hz) / width_hz)), least, 1.0)
    made = _harmonics(envelope * np.sqrt(1.0 - noisy), pitch_hz, voiced, step, rng)
    return made + _noise(envelope, noisy, pitch_hz, voiced, step, rng)


def drawn_pitch(samples: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pitch in Hz and how voiced (0 to 1) of each sample; the pitch is sometimes smoother, stepped or scaled."""
    track = track_pitch(samples, RATE_HZ)
    known = np.flatnonzero(np.isfinite(track))
    if known.size < 2:
        return np.full(samples.size, 120.0), np.zeros(samples.size)
    filled = np.interp(np.arange(track.size), known, track[known])
    if rng.random() < 0.5:
        filled = gaussian_filter1d(filled, float(rng.uniform(0.5, 4.0)))
    if rng.random() < 0.3:
        steps = float(rng.choice([20, 40, 80]))
        filled = np.exp(np.asarray(np.round(np.log(filled) * steps)) / steps)
    frames = (np.arange(samples.size) / RATE_HZ - WINDOW_S / 2) / STEP_S
    pitch_hz = np.interp(frames, np.arange(track.size), filled) * float(rng.choice([1.0, 1.0, rng.uniform(0.9, 1.12)]))
    voiced = np.interp(frames, np.arange(track.size), np.isfinite(track).astype(float))
    return pitch_hz, np.clip(gaussian_filter1d(voiced, 0.003 * RATE_HZ), 0.0, 1.0)


def smoothed_envelope(samples: np.ndarray, step: int, rng: np.random.Generator) -> np.ndarray:
    """Amplitudes ``[frame, bin]`` every ``step`` samples: a spectrum smoothed by its cepstrum, and in time."""
    length = int(rng.choice([320, 400, 512, 640]))
    _, _, spectrum = stft(samples, RATE_HZ, "hann", length, length - step, SIZE)
    log = np.log(np.abs(spectrum.T) + TINY)
    cepstra = np.fft.irfft(log, axis=1)
    order = int(rng.choice([18, 24, 32, 45, 60]))
    taper = np.clip((order + 8.0 - np.arange(SIZE // 2 + 1)) / 8.0, 0.0, 1.0)
    kept = cepstra * np.concatenate([taper, taper[1:-1][::-1]])
    if rng.random() < 0.4:
        kept = np.round(kept / (grain := float(rng.uniform(0.005, 0.04)))) * grain
    if rng.random() < 0.5:
        kept = gaussian_filter1d(kept, float(rng.uniform(0.3, 2.0)), axis=0)
    return np.exp(np.fft.rfft(kept, axis=1).real)


def _harmonics(
    envelope: np.ndarray, pitch_hz: np.ndarray, voiced: np.ndarray, step: int, rng: np.random.Generator
) -> np.ndarray:
    """Sum of sines at multiples of the pitch; their phases stand together, are drawn once, or drift."""
    time, phase = np.arange(pitch_hz.size) / step, 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
    frames = np.arange(len(envelope))
    at_hz = pitch_hz[np.minimum(frames * step, pitch_hz.size - 1)]
    count = int(HIGHEST_HZ / max(60.0, float(pitch_hz.min())))
    how, spread = str(rng.choice(["together", "drawn", "curved", "minimum"])), float(rng.uniform(0.0, 1.5))
    offsets = np.zeros(count)
    if how == "drawn":
        offsets = rng.uniform(-np.pi, np.pi, count) * min(1.0, spread)
    elif how == "curved":
        offsets = spread * 0.02 * np.arange(count) ** 2
    minimum = _minimum_phase(envelope) if how == "minimum" else np.zeros_like(envelope)
    jitter = float(rng.choice([0.0, 0.0, rng.uniform(0.0, 0.6)]))
    made = np.zeros(pitch_hz.size)
    for number in range(1, count + 1):
        index = np.minimum(number * at_hz / RATE_HZ * SIZE, SIZE // 2 - 1).astype(int)
        strength = envelope[frames, index] * (number * at_hz < HIGHEST_HZ) * np.sqrt(at_hz)
        drift = np.interp(time, frames, minimum[frames, index] + jitter * rng.standard_normal(len(frames)))
        made += np.interp(time, frames, strength) * np.cos(number * phase + offsets[number - 1] + drift)
    return made * voiced * 2.0 / np.sqrt(RATE_HZ)


def _minimum_phase(envelope: np.ndarray) -> np.ndarray:
    """Phases in rad of the filters with these amplitudes ``[frame, bin]`` that answer soonest, by folded cepstra."""
    cepstra = np.fft.irfft(np.log(envelope + TINY), axis=1)
    half = cepstra.shape[1] // 2
    fold = np.concatenate([[1.0], np.full(half - 1, 2.0), [1.0], np.zeros(half - 1)])
    return np.fft.rfft(cepstra * fold, axis=1).imag


def _noise(
    envelope: np.ndarray,
    noisy: np.ndarray,
    pitch_hz: np.ndarray,
    voiced: np.ndarray,
    step: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Noise under the envelope: all of it where unvoiced, ``noisy`` of the power by bin where voiced."""
    white = rng.standard_normal(pitch_hz.size)
    if rng.random() < 0.4:  # as breath does, it swells with each period
        phase = 2 * np.pi * np.cumsum(pitch_hz) / RATE_HZ
        white = white * (1.0 + float(rng.uniform(0.2, 0.9)) * voiced * np.cos(phase + rng.uniform(-np.pi, np.pi)))
    length = max(320, 2 * step)
    _, _, spectrum = stft(white, RATE_HZ, "hann", length, length - step, SIZE)
    frames = min(spectrum.shape[1], len(envelope))
    share = voiced[np.minimum(np.arange(frames) * step, voiced.size - 1)][:, None]
    gain = envelope[:frames] * np.sqrt(share * noisy[None] + (1.0 - share))
    _, made = istft(spectrum[:, :frames] * gain.T, RATE_HZ, "hann", length, length - step, SIZE)
    return np.pad(made[: pitch_hz.size], (0, max(0, pitch_hz.size - made.size)))
