"""Decoding of files by strangers: which containers reach the decoder, and memory bounded by what is kept.

A header may say anything. So only known containers are opened, a length that no recording of that many bytes has is
refused, and samples are read in pieces of fixed size whatever the header declares.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

__all__ = ["CONTAINERS", "MAX_SAMPLES", "known_start", "name_of", "mono_pieces", "resampled", "unlikely_length"]

CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "CAF", "AU", "NIST")
"""What is decoded; of the many formats the decoder knows, these are the ones speech comes in."""
STARTS = (b"fLaC", b"OggS", b"riff", b"caff", b".snd", b"dns.", b"NIST_1A")
TYPED_STARTS = {b"RIFF": (b"WAVE",), b"RIFX": (b"WAVE",), b"RF64": (b"WAVE",), b"FORM": (b"AIFF", b"AIFC")}
"""Containers of several kinds, and the kinds that are decoded; their name stands behind the size."""
ID3, ID3_HEAD_BYTES = b"ID3", 10
MOST_PADDING_BYTES = 1 << 16
MAX_SAMPLES = 100_000_000
"""Most mono samples of one clip in memory (400 MB; 104 minutes at 16 kHz). Longer recordings are read in blocks."""
PIECE_VALUES = 1 << 20
"""Samples times channels decoded at a time."""
MAX_VALUES_PER_BYTE, UNSUSPECTED_VALUES = 4_096, 10_000_000
"""Silence packs 1,000 values into a byte at most in what encoders write; below ten million nothing is suspected."""
KERNEL_VALUES = 1 << 21
"""Largest table of a resampler; two rates without a common divisor would need gigabytes."""
MOST_PHASES, MOST_STEPS = 1_000, 50_000
ZERO_CROSSINGS, ROLLOFF = 6, 0.99


def name_of(path: str | Path) -> Any:
    """A file's name as soundfile takes it, its very bytes: as text it must be UTF-8. (Its stubs know no bytes.)"""
    return os.fsencode(path)


def known_start(path: Path) -> bool:
    """Whether a file begins as a container that is decoded, behind an ID3 tag where it has one.

    The decoder looks behind the tag too, and there is a container (IFF sound) in which it then never ends.
    """
    with path.open("rb") as stream:
        start = stream.read(12)
        if start.startswith(ID3) and len(start) >= ID3_HEAD_BYTES:
            size = sum((byte & 0x7F) << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=True))
            stream.seek(ID3_HEAD_BYTES + size)
            start = stream.read(MOST_PADDING_BYTES).lstrip(b"\0")[:12]
    if start[:4] in TYPED_STARTS:
        return start[8:12] in TYPED_STARTS[start[:4]]
    is_mpeg = len(start) > 1 and start[0] == 0xFF and start[1] & 0xE0 == 0xE0
    return is_mpeg or start.startswith(STARTS)


def unlikely_length(frames: int, channels: int, size_bytes: int) -> bool:
    """Whether a header declares more than a file of that size can be a recording of."""
    values = frames * channels
    return values > UNSUSPECTED_VALUES and values > MAX_VALUES_PER_BYTE * size_bytes


def mono_pieces(path: Path, start: int, frames: int) -> Iterator[np.ndarray]:
    """Channel means ``[time]`` float32 of up to ``frames`` frames from ``start``, in pieces; fewer where the file ends.

    Raises:
        sf.LibsndfileError, RuntimeError: it cannot be decoded.
    """
    with sf.SoundFile(name_of(path)) as stream:
        if start:
            stream.seek(start)
        size = max(1, PIECE_VALUES // stream.channels)
        while frames > 0:
            samples = stream.read(min(size, frames), dtype="float32", always_2d=True)
            if len(samples) == 0:
                return
            frames -= len(samples)
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused behind this
                mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1, dtype=np.float32)
            yield mono


def resampled(samples: np.ndarray, source_hz: int, target_hz: int) -> np.ndarray:
    """``samples`` ``[time]`` at another rate, by torchaudio's windowed-sinc kernel where its table is small.

    Rates without a common measure (8,287 Hz) would need gigabytes there: scipy's polyphase filter does them, at a ratio
    of numbers that give it a filter of a few megabytes (767,999 Hz is off by less than a part in 10 ** 9).
    """
    if kernel_values(source_hz, target_hz) > KERNEL_VALUES or target_hz // gcd(source_hz, target_hz) > MOST_PHASES:
        from scipy.signal import resample_poly

        ratio = Fraction(target_hz, source_hz).limit_denominator(MOST_STEPS)
        found = resample_poly(samples, ratio.numerator, ratio.denominator).astype(np.float32)
        length = -(-len(samples) * target_hz // source_hz)
        return np.pad(found, (0, max(0, length - len(found))))[:length]
    import torch

    with torch.inference_mode():
        return _resampler(source_hz, target_hz)(torch.from_numpy(samples)).numpy()


def kernel_values(source_hz: int, target_hz: int) -> int:
    """Size of the table with which torchaudio resamples."""
    common = gcd(source_hz, target_hz)
    source, target = source_hz // common, target_hz // common
    width = int(np.ceil(ZERO_CROSSINGS * source / (min(source, target) * ROLLOFF)))
    return target * (2 * width + source)


@lru_cache(maxsize=16)
def _resampler(source_hz: int, target_hz: int):
    import torchaudio

    return torchaudio.transforms.Resample(source_hz, target_hz)
