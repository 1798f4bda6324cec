"""What happens to a recording after it was made: one named change each, for a robustness card. Not for training.

Each takes and gives float32 ``[time]`` at 16 kHz; speed and trimming change the length. Choices come from the
generator, so that the same seed gives the same bytes. Strengths stand in the name.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from detectors.channels import low_pass, through_channel
from detectors.features import SAMPLE_RATE_HZ
from detectors.preparation import active_frames, resample, speech_span

__all__ = ["CLEAN", "POST_PROCESSING", "Change", "convolved", "with_noise"]

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
CLEAN = "clean"


def _peak(samples: np.ndarray) -> float:
    return max(float(np.abs(samples).max()) if samples.size else 0.0, 1e-9)


def _compressed(samples: np.ndarray, rng: np.random.Generator, *, kind: tuple[str, str], level: float) -> np.ndarray:
    """Through a lossy file codec; ``level``: libsndfile's compression level, 0 best, 1 smallest."""
    import soundfile as sf

    memory, peak = io.BytesIO(), max(1.0, _peak(samples))
    sf.write(memory, samples / peak, SAMPLE_RATE_HZ, format=kind[0], subtype=kind[1], compression_level=level)
    memory.seek(0)
    decoded, rate_hz = sf.read(memory, dtype="float32")
    decoded = resample(decoded, rate_hz) * peak
    return np.pad(decoded, (0, max(0, samples.size - decoded.size)))[: samples.size].astype(np.float32)


def _channel(samples: np.ndarray, rng: np.random.Generator, *, name: str) -> np.ndarray:
    return through_channel(samples, name, rng)


def _low_pass(samples: np.ndarray, rng: np.random.Generator, *, cutoff_hz: float) -> np.ndarray:
    return low_pass(samples, cutoff_hz)


def _high_pass(samples: np.ndarray, rng: np.random.Generator, *, cutoff_hz: float) -> np.ndarray:
    return (samples - low_pass(samples, cutoff_hz + 400.0)).astype(np.float32)


def with_noise(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """``noise`` repeated or cut to length and added at a signal-to-noise ratio over the whole clip."""
    noise = np.resize(noise, samples.size).astype(np.float64)
    ratio = np.sqrt(np.mean(samples.astype(np.float64) ** 2) / max(float(np.mean(noise**2)), 1e-12))
    return (samples + noise * ratio * 10.0 ** (-snr_db / 20.0)).astype(np.float32)


def _white(samples: np.ndarray, rng: np.random.Generator, *, snr_db: float) -> np.ndarray:
    return with_noise(samples, rng.standard_normal(samples.size), snr_db)


def _pink(samples: np.ndarray, rng: np.random.Generator, *, snr_db: float) -> np.ndarray:
    shape = np.maximum(np.fft.rfftfreq(samples.size), 1e-4) ** -0.5
    return with_noise(samples, np.fft.irfft(np.fft.rfft(rng.standard_normal(samples.size)) * shape), snr_db)


def convolved(samples: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Through a linear response; the length and the level stay."""
    size = 1 << int(np.ceil(np.log2(samples.size + response.size)))
    made = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(response, size), size)[: samples.size]
    gain = np.sqrt(np.mean(samples.astype(np.float64) ** 2) / max(float(np.mean(made**2)), 1e-12))
    return (made * gain).astype(np.float32)


def _room(samples: np.ndarray, rng: np.random.Generator, *, t60_s: float) -> np.ndarray:
    """Direct sound and a decaying tail, 6 dB below it in all."""
    size = int(t60_s * SAMPLE_RATE_HZ)
    tail = rng.standard_normal(size) * 10.0 ** (-3.0 * np.arange(size) / size)
    tail *= 0.5 / np.linalg.norm(tail)
    tail[0] = 1.0
    return convolved(samples, tail)


def _gain(samples: np.ndarray, rng: np.random.Generator, *, gain_db: float) -> np.ndarray:
    scaled = np.clip(samples * 10.0 ** (gain_db / 20.0) / _peak(samples) * 0.7, -1.0, 1.0)
    return (np.round(scaled * 32767.0) / 32767.0).astype(np.float32)


def _speed(samples: np.ndarray, rng: np.random.Generator, *, factor: float) -> np.ndarray:
    """Tempo and pitch together, as a tape."""
    return resample(samples, round(SAMPLE_RATE_HZ * factor), SAMPLE_RATE_HZ)


def _pitch(samples: np.ndarray, rng: np.random.Generator, *, semitones: float) -> np.ndarray:
    """Pitch by a phase vocoder, tempo kept: stretched in time, then played faster (a semitone is nearly 18 to 17)."""
    import torch
    from torchaudio.functional import phase_vocoder

    size, hop, steps = 1024, 256, 18 if semitones > 0 else 17
    taper = torch.hann_window(size)
    with torch.inference_mode():
        spectrum = torch.stft(torch.from_numpy(samples.copy()), size, hop, window=taper, return_complex=True)
        advance = torch.linspace(0, torch.pi * hop, size // 2 + 1)[:, None]
        slower = phase_vocoder(spectrum[None], (35 - steps) / steps, advance)[0]
        made = resample(torch.istft(slower, size, hop, window=taper).numpy(), steps, 35 - steps)
    made = np.pad(made, (0, max(0, samples.size - made.size)))[: samples.size]
    return (made / max(1.0, _peak(made))).astype(np.float32)


def _clipped(samples: np.ndarray, rng: np.random.Generator, *, share: float) -> np.ndarray:
    limit = float(np.quantile(np.abs(samples), 1.0 - share)) + 1e-9
    return (np.clip(samples, -limit, limit) / limit * 0.9).astype(np.float32)


def _resampled(samples: np.ndarray, rng: np.random.Generator, *, rate_hz: int) -> np.ndarray:
    made = resample(resample(samples, SAMPLE_RATE_HZ, rate_hz), rate_hz)
    return np.pad(made, (0, max(0, samples.size - made.size)))[: samples.size]


def _trimmed(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    first, past = speech_span(active_frames(samples))
    return samples[first:past] if past > first else samples


def _padded(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    silence = np.zeros(SAMPLE_RATE_HZ, np.float32)
    return np.concatenate([silence, samples, silence])


def _spliced(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut at three random places and put together in another order, with 5 ms cross-fades."""
    cuts = np.sort(rng.integers(0, samples.size, 3))
    parts = [part for part in np.split(samples, cuts) if part.size]
    made, fade = parts[-1].copy(), 80
    for part in parts[:-1]:
        overlap = min(fade, made.size, part.size)
        ramp = np.linspace(0.0, 1.0, overlap, dtype=np.float32)
        made[made.size - overlap :] = made[made.size - overlap :] * (1 - ramp) + part[:overlap] * ramp
        made = np.concatenate([made, part[overlap:]])
    return made


def _grid() -> dict[str, Change]:
    mp3, opus, vorbis = ("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS"), ("OGG", "VORBIS")
    grid: dict[str, Change] = {CLEAN: lambda samples, rng: samples}
    for name, kind in (("MP3", mp3), ("Opus", opus), ("Vorbis", vorbis)):
        for quality, level in (("good", 0.3), ("small", 0.95)):
            grid[f"{name}, {quality}"] = partial(_compressed, kind=kind, level=level)
    labels = {"mu_law": "mu-law, 16 kHz", "telephone": "telephone band, mu-law", "gsm": "GSM", "adpcm": "ADPCM, 8 kHz"}
    grid |= {label: partial(_channel, name=name) for name, label in labels.items()}
    grid |= {f"low-pass {hz / 1000:g} kHz": partial(_low_pass, cutoff_hz=hz) for hz in (4_000.0, 6_000.0)}
    grid["high-pass 300 Hz"] = partial(_high_pass, cutoff_hz=300.0)
    grid |= {f"white noise, {snr} dB": partial(_white, snr_db=float(snr)) for snr in (30, 20, 10, 5)}
    grid |= {f"pink noise, {snr} dB": partial(_pink, snr_db=float(snr)) for snr in (20, 10)}
    grid |= {f"room, T60 {t60:g} s": partial(_room, t60_s=t60) for t60 in (0.3, 0.6, 1.0)}
    grid |= {f"level {db:+d} dB": partial(_gain, gain_db=float(db)) for db in (-30, 6)}
    grid |= {f"speed {factor:g}": partial(_speed, factor=factor) for factor in (0.9, 1.1)}
    grid |= {f"pitch {step:+d} semitone": partial(_pitch, semitones=float(step)) for step in (-1, 1)}
    grid["clipped, 0.5 % of samples"] = partial(_clipped, share=0.005)
    grid |= {f"resampled by {hz / 1000:g} kHz": partial(_resampled, rate_hz=hz) for hz in (8_000, 11_025, 22_050)}
    return {**grid, "silence trimmed": _trimmed, "silence added": _padded, "cut and spliced": _spliced}


POST_PROCESSING: Mapping[str, Change] = MappingProxyType(_grid())
