"""Ways speech gets sent and stored: file codecs, telephone. Applied alike to bona fide and synthetic speech,
so that compression is no cue. All take and give float32 ``[time]`` at 16 kHz, same length.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np

from detectors.features import SAMPLE_RATE_HZ
from detectors.preparation import resample

__all__ = ["CHANNELS", "low_pass", "through_channel"]

Channel = Callable[[np.ndarray, np.random.Generator], np.ndarray]
TELEPHONE_RATE_HZ = 8_000
TELEPHONE_BAND_HZ = (300.0, 3_400.0)
MU = 255.0


def _fit(samples: np.ndarray, length: int) -> np.ndarray:
    fitted = samples[:length].astype(np.float32)
    return np.pad(fitted, (0, length - fitted.size))


def _file_codec(samples: np.ndarray, rng: np.random.Generator, *, container: str, subtype: str) -> np.ndarray:
    """Write to memory and read back; the quality is drawn between best and near worst."""
    import soundfile as sf

    peak = max(1.0, float(np.abs(samples).max()))
    memory = io.BytesIO()
    compression = float(rng.uniform(0.2, 0.95))
    sf.write(memory, samples / peak, SAMPLE_RATE_HZ, format=container, subtype=subtype, compression_level=compression)
    memory.seek(0)
    decoded, rate_hz = sf.read(memory, dtype="float32")
    return _fit(resample(decoded, rate_hz) * peak, samples.size)


def _mu_law(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """8-bit mu-law companding (ITU-T G.711's continuous form), at 16 kHz."""
    peak = max(float(np.abs(samples).max()), 1e-9)
    unit = samples / peak
    coded = np.sign(unit) * np.log1p(MU * np.abs(unit)) / np.log1p(MU)
    steps = np.round(coded * 127.0) / 127.0
    return (np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(MU)) / MU * peak).astype(np.float32)


def _telephone_codec(samples: np.ndarray, rng: np.random.Generator, *, subtype: str) -> np.ndarray:
    """An 8 kHz file codec of telephony: GSM full rate (13 kbit/s) or ADPCM (G.721, 32 kbit/s)."""
    import soundfile as sf

    peak = max(1.0, float(np.abs(samples).max()))
    memory = io.BytesIO()
    narrow = resample(samples / peak, SAMPLE_RATE_HZ, TELEPHONE_RATE_HZ)
    sf.write(memory, narrow, TELEPHONE_RATE_HZ, format="WAV" if subtype == "GSM610" else "AU", subtype=subtype)
    memory.seek(0)
    decoded, rate_hz = sf.read(memory, dtype="float32")
    return _fit(resample(decoded, rate_hz) * peak, samples.size)


def _telephone(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """300 to 3400 Hz at 8 kHz with mu-law companding."""
    from scipy.signal import butter, sosfilt

    narrow = resample(samples, SAMPLE_RATE_HZ, TELEPHONE_RATE_HZ)
    band = butter(4, TELEPHONE_BAND_HZ, "bandpass", fs=TELEPHONE_RATE_HZ, output="sos")
    coded = _mu_law(np.asarray(sosfilt(band, narrow)), rng)
    return _fit(resample(coded, TELEPHONE_RATE_HZ), samples.size)


def low_pass(samples: np.ndarray, cutoff_hz: float) -> np.ndarray:
    """Zero-phase low-pass with a 400 Hz raised-cosine edge below ``cutoff_hz``."""
    spectrum = np.fft.rfft(samples)
    frequency_hz = np.fft.rfftfreq(samples.size, 1.0 / SAMPLE_RATE_HZ)
    edge = np.clip((cutoff_hz - frequency_hz) / 400.0, 0.0, 1.0)
    return np.fft.irfft(spectrum * (0.5 - 0.5 * np.cos(np.pi * edge)), samples.size).astype(np.float32)


def _random_low_pass(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return low_pass(samples, float(rng.uniform(3_800.0, 7_500.0)))


CHANNELS: Mapping[str, Channel] = MappingProxyType(
    {
        "mp3": partial(_file_codec, container="MP3", subtype="MPEG_LAYER_III"),
        "vorbis": partial(_file_codec, container="OGG", subtype="VORBIS"),
        "opus": partial(_file_codec, container="OGG", subtype="OPUS"),
        "mu_law": _mu_law,
        "telephone": _telephone,
        "gsm": partial(_telephone_codec, subtype="GSM610"),
        "adpcm": partial(_telephone_codec, subtype="G721_32"),
        "low_pass": _random_low_pass,
    }
)


def through_channel(samples: np.ndarray, channel: str, rng: np.random.Generator) -> np.ndarray:
    """``samples`` as they come out of one of ``CHANNELS``; unknown names are a ValueError."""
    if channel not in CHANNELS:
        raise ValueError(f"unknown channel {channel!r}; use one of {', '.join(CHANNELS)}")
    return CHANNELS[channel](np.asarray(samples, dtype=np.float32), rng)
