"""What people do to a recording before it reaches a detector, for training windows of both classes alike.

A changed pitch, a changed tempo, noise as loud as the speech, a line: each alters the sound far more than a good
synthesiser would, and none makes a person's voice synthetic or a synthetic one a person's. The changes never look at
the label. Sizes are drawn, so that a detector learns the family: phase vocoders of several transform lengths, and
overlapping pieces of the waveform laid where they fit best (WSOLA).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from detectors.channels import CHANNELS, through_channel
from detectors.preparation import resample
from evaluation.detector_windows import WindowSet

__all__ = ["edited", "edited_windows", "laid_over", "pitch_moved", "tempo_changed", "vocoded"]

RATE_HZ = 16_000
PITCH_SHARE, TEMPO_SHARE, NOISE_SHARE, CHANNEL_SHARE = 0.45, 0.15, 0.45, 0.3
VOCODED_SHARE = 0.7
TRANSFORMS = (512, 1024, 1024, 2048)
PARTS = range(12, 25)
FURTHEST_SEMITONES = 3.2
SNR_DB = (2.0, 30.0)
TALKERS = (2, 7)
CHANNEL_NAMES = tuple(CHANNELS)


def vocoded(samples: np.ndarray, slower: float, size: int, hop: int) -> np.ndarray:
    """``slower`` times as long by a phase vocoder, the pitch kept."""
    import torch
    from torchaudio.functional import phase_vocoder

    taper = torch.hann_window(size)
    with torch.inference_mode():
        signal = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
        spectrum = torch.stft(signal, size, hop, window=taper, return_complex=True)
        advance = torch.linspace(0, torch.pi * hop, size // 2 + 1)[:, None]
        longer = phase_vocoder(spectrum[None], 1.0 / slower, advance)[0]
        return torch.istft(longer, size, hop, window=taper, length=round(samples.size * slower)).numpy()


def laid_over(samples: np.ndarray, slower: float, frame: int, reach: int) -> np.ndarray:
    """``slower`` times as long by overlapping frames, each moved by up to ``reach`` to where it goes on best."""
    hop, size = frame // 2, round(samples.size * slower)
    taper = np.hanning(frame + 1)[:frame]
    padded = np.pad(samples.astype(np.float64), (reach, 2 * frame + 2 * reach))
    made, weight = np.zeros(size + 2 * frame), np.full(size + 2 * frame, 1e-6)
    place = reach
    for start in range(0, size, hop):
        made[start : start + frame] += taper * padded[place : place + frame]
        weight[start : start + frame] += taper
        wanted = padded[place + hop : place + hop + frame]
        first = min(int((start + hop) / slower), samples.size - 1)
        scores = np.correlate(padded[first : first + frame + 2 * reach], wanted, mode="valid")
        place = first + int(np.argmax(scores))
        if place + hop + frame > padded.size:
            break
    return (made / weight)[:size].astype(np.float32)


def _longer(samples: np.ndarray, slower: float, rng: np.random.Generator) -> np.ndarray:
    if rng.random() < VOCODED_SHARE:
        size = int(rng.choice(TRANSFORMS))
        return vocoded(samples, slower, size, size // int(rng.choice([4, 4, 8])))
    return laid_over(samples, slower, int(rng.uniform(0.02, 0.06) * RATE_HZ) // 2 * 2, int(rng.uniform(80, 200)))


def pitch_moved(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Up or down by at most three semitones, the length kept: longer or shorter, then played at another rate."""
    while True:
        up, down = int(rng.choice(PARTS)), int(rng.choice(PARTS))
        if up != down and abs(12.0 * np.log2(up / down)) <= FURTHEST_SEMITONES:
            break
    made = resample(_longer(samples, up / down, rng), up, down)
    return np.pad(made, (0, max(0, samples.size - made.size)))[: samples.size]


def tempo_changed(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """0.8 to 1.3 times as long, the pitch kept."""
    return _longer(samples, float(rng.uniform(0.8, 1.3)), rng)


def _babble(samples: np.ndarray, others: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Several others who talk at once."""
    made = np.zeros(samples.size)
    for _ in range(int(rng.integers(*TALKERS))):
        other = others[int(rng.integers(len(others)))].astype(np.float64)
        level = np.sqrt(np.mean(other**2)) + 1e-9
        made += np.resize(np.roll(other / level, int(rng.integers(other.size))), samples.size)
    return made


def _noisy(samples: np.ndarray, others: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """White, pink, brown, or anything between, or people in the background: 2 to 30 dB below the speech."""
    if others and rng.random() < 0.3:
        noise = _babble(samples, others, rng)
    else:
        slope = float(rng.choice([0.0, 0.0, 0.5, 1.0, rng.uniform(-0.3, 1.0)]))
        shape = np.maximum(np.fft.rfftfreq(samples.size), 1e-4) ** -slope
        noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(samples.size)) * shape, samples.size)
    ratio = np.sqrt(np.mean(samples.astype(np.float64) ** 2) / max(float(np.mean(noise**2)), 1e-12))
    return samples + noise * ratio * 10.0 ** (-rng.uniform(*SNR_DB) / 20.0)


def edited(samples: np.ndarray, others: Sequence[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """One to three changes in the order in which they happen: pitch or tempo, noise, a channel; then the level.

    ``others``: recordings for voices in the background. The length changes only with the tempo.
    """
    peak = max(float(np.abs(samples).max()), 1e-6)
    made, chance, changed = samples.astype(np.float32) / peak * 0.7, rng.random(), True
    if chance < PITCH_SHARE:
        made = pitch_moved(made, rng)
    elif chance < PITCH_SHARE + TEMPO_SHARE:
        made = tempo_changed(made, rng)
    else:
        changed = False
    if rng.random() < NOISE_SHARE:
        made, changed = _noisy(made, others, rng), True
    if not changed or rng.random() < CHANNEL_SHARE:
        made = made / max(float(np.abs(made).max()), 1e-6) * 0.7
        made = through_channel(made.astype(np.float32), str(rng.choice(CHANNEL_NAMES)), rng)
    level = 10.0 ** (rng.uniform(-25.0, 5.0) / 20.0) / max(float(np.abs(made).max()), 1e-6)
    return np.clip(made * level, -1.0, 1.0).astype(np.float32)


def edited_windows(windows: WindowSet, seed: int) -> WindowSet:
    """Every window once more, edited; one that became shorter goes on from its beginning."""
    length, made = windows.samples.shape[1], np.zeros_like(windows.samples)
    genuine = np.flatnonzero(windows.is_bona_fide)
    for index, window in enumerate(windows.samples):
        rng = np.random.default_rng([seed, index])
        others = [windows.samples[int(other)] for other in rng.choice(genuine, TALKERS[1])]
        changed = edited(window.astype(np.float32) / 32767.0, others, rng)
        made[index] = np.round(np.resize(changed, length) * 32767.0).astype(np.int16)
    return replace(windows, samples=made)
