"""Small spectrogram images: short-time Fourier magnitudes to an indexed PNG, with numpy and zlib only.

No plotting library, so the same samples give the same bytes everywhere.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

__all__ = ["spectrogram_levels", "spectrogram_png"]

WIDTH, HEIGHT = 320, 96
WINDOW_S = 0.025
TOP_HZ = 8_000.0
RANGE_DB = 70.0
STOPS = (
    (0.0, (14, 16, 32)),
    (0.35, (58, 36, 104)),
    (0.6, (158, 50, 100)),
    (0.8, (226, 110, 66)),
    (1.0, (252, 226, 156)),
)
"""Colour map from quiet to loud, lightness rising throughout so that it also reads in grey print."""


def spectrogram_levels(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Levels of mono ``samples [time]`` in dB below the loudest cell, ``[HEIGHT, WIDTH]``, top row highest frequency.

    Frequencies run linearly to 8 kHz or half the rate. Silence is ``-RANGE_DB`` everywhere.
    """
    size = max(16, int(round(WINDOW_S * sample_rate_hz)))
    padded = np.pad(np.asarray(samples, dtype=np.float64), (size // 2, size - size // 2))
    starts = np.linspace(0, len(padded) - size, WIDTH).round().astype(int)
    frames = padded[starts[:, None] + np.arange(size)] * np.hanning(size)  # [WIDTH, size]
    n_fft = 1 << max(8, (size - 1).bit_length())
    power = np.abs(np.fft.rfft(frames, n_fft)) ** 2  # [WIDTH, n_fft // 2 + 1]
    top_bin = int(min(TOP_HZ, sample_rate_hz / 2) / sample_rate_hz * n_fft)
    edges = np.linspace(0, top_bin, HEIGHT + 1)
    low = np.minimum(edges[:-1].astype(int), power.shape[1] - 1)
    high = np.maximum(np.ceil(edges[1:]).astype(int), low + 1)
    rows = np.stack([power[:, a:b].max(axis=1) for a, b in zip(low, high, strict=True)])  # [HEIGHT, WIDTH]
    peak = rows.max()
    if peak <= 0.0:
        return np.full((HEIGHT, WIDTH), -RANGE_DB)
    levels = 10.0 * np.log10(np.maximum(rows / peak, 10.0 ** (-RANGE_DB / 10)))
    return levels[::-1]


def spectrogram_png(samples: np.ndarray, sample_rate_hz: int) -> bytes:
    """The image as PNG bytes, 320 x 96, 64 colours."""
    shades = 64
    levels = spectrogram_levels(samples, sample_rate_hz)
    index = np.clip(np.round((levels / RANGE_DB + 1.0) * (shades - 1)), 0, shades - 1).astype(np.uint8)
    places = np.linspace(0.0, 1.0, shades)
    at = [stop for stop, _ in STOPS]
    palette = np.stack([np.interp(places, at, [c[i] for _, c in STOPS]) for i in range(3)], axis=1)
    return _png(index, palette.round().astype(np.uint8))


def _png(index: np.ndarray, palette: np.ndarray) -> bytes:
    """An 8-bit indexed PNG (PNG specification 1.2, sections 4.1.1 to 4.1.4): ``index [row, column]``."""
    height, width = index.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), index], axis=1).tobytes()
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", palette.tobytes()),
            _chunk(b"IDAT", zlib.compress(lines, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
