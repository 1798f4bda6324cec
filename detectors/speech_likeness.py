"""Does it sound like speech at all: statistics of three seconds that talk has and music, noise and machines have not.

Speech comes in syllables (3 to 8 a second), its pitch glides, voiced and unvoiced sounds take turns and its spectrum
never stands still. Each window of 3 s becomes a vector of such statistics, whatever its level; a small network gives
the log-odds of speech.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import fft, signal

from detectors.artefacts import read_config, read_weights
from detectors.features import SAMPLE_RATE_HZ, mel_matrix
from detectors.preparation import FRAME_SAMPLES

__all__ = ["FEATURES", "SHIPPED", "SpeechCheck", "SpeechLikeness", "file_score", "shipped_likeness", "window_features"]

SHIPPED = Path(__file__).parent / "pretrained" / "speech_likeness"
WINDOW_S, HOP_S = 3.0, 1.5
LEAST_ACTIVE_SHARE = 0.3
FFT, HOP = 512, 256
FRAME_RATE_HZ = SAMPLE_RATE_HZ / HOP
BANDS, CEPSTRA = 40, 13
MODULATION_HZ = (0.5, 2.0, 4.0, 8.0, 16.0, 31.0)
PITCH_FFT, PITCH_RATE_HZ = 512, 8_000
PITCH_HZ = (65.0, 420.0)
FLOOR_DB = 60.0
MOST_NATS, UNLIKE_NATS = 6.0, 3.0
LAGS = (2, 6, 12, 30)
LOWEST_HZ, HIGHEST_HZ = 100.0, 3_600.0
"""The band that the telephone leaves: what lies above it is no part of the decision."""


@lru_cache(maxsize=1)
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    filters = mel_matrix(BANDS, fft_size=FFT, lowest_hz=LOWEST_HZ, highest_hz=HIGHEST_HZ)
    place = (np.arange(BANDS) + 0.5) * math.pi / BANDS
    cosines = np.cos(np.arange(CEPSTRA)[:, None] * place) * math.sqrt(2.0 / BANDS)
    return filters, cosines, np.hanning(FFT).astype(np.float32)


def _frames(samples: np.ndarray, size: int, hop: int) -> np.ndarray:
    padded = np.pad(samples.astype(np.float32), size // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, size)[: samples.size : hop]


def _pitch(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strength (0 to 1) and frequency in Hz of the best period of each 64 ms frame, by normalised autocorrelation."""
    taper = np.hanning(PITCH_FFT).astype(np.float32)
    narrow = signal.resample_poly(samples.astype(np.float32), 1, SAMPLE_RATE_HZ // PITCH_RATE_HZ)
    frames = _frames(narrow, PITCH_FFT, HOP * PITCH_RATE_HZ // SAMPLE_RATE_HZ) * taper
    correlation, own = (_autocorrelation(rows) for rows in (frames, taper[None]))
    shortest, longest = (int(PITCH_RATE_HZ / hz) for hz in PITCH_HZ[::-1])
    normal = correlation[:, : longest + 2] / (correlation[:, :1] + 1e-9) / (own[:, : longest + 2] / own[0, 0])
    rows = np.arange(len(normal))
    at = np.argmax(normal[:, shortest : longest + 1], axis=1) + shortest
    left, middle, right = (normal[rows, at + step] for step in (-1, 0, 1))
    shift = np.clip(0.5 * (left - right) / (left - 2 * middle + right - 1e-12), -0.5, 0.5)
    return np.clip(middle, 0.0, 1.0), PITCH_RATE_HZ / (at + shift)


def _autocorrelation(frames: np.ndarray) -> np.ndarray:
    spectrum = np.asarray(fft.rfft(frames, 2 * PITCH_FFT))
    return np.asarray(fft.irfft(np.abs(spectrum) ** 2))[:, :PITCH_FFT]


def _bands_and_bins(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mel power and power of the bins below 3.6 kHz, ``[frame, band]``."""
    filters, _, taper = _tables()
    spectrum = np.asarray(fft.rfft(_frames(samples, FFT, HOP) * taper))
    power = np.abs(spectrum) ** 2
    return power @ filters.T, power[:, 3 : int(HIGHEST_HZ * FFT / SAMPLE_RATE_HZ)]


def _level_statistics(level_db: np.ndarray) -> list[float]:
    """Of mel levels ``[frame, band]`` in dB: how deep and how fast they move, in five groups of bands."""
    found: list[float] = []
    rates = np.fft.rfftfreq(len(level_db), 1.0 / FRAME_RATE_HZ)
    for group in np.array_split(level_db, 5, axis=1):
        track = group.mean(axis=1)
        power = np.abs(np.fft.rfft((track - track.mean()) * np.hanning(track.size))) ** 2
        inside = (rates >= MODULATION_HZ[0]) & (rates < MODULATION_HZ[-1])
        total = power[inside].sum() + 1e-6
        found.append(float(np.log(track.std() + 0.1)))
        found += [
            float(power[(rates >= low) & (rates < high)].sum() / total)
            for low, high in zip(MODULATION_HZ, MODULATION_HZ[1:], strict=False)
        ]
    loudness = level_db.max(axis=1)
    return [*found, *(float(value) / 10.0 for value in np.percentile(loudness, (5, 25, 50, 75)))]


def _movement_statistics(level_db: np.ndarray) -> list[float]:
    """How the spectrum's shape moves: cepstra, their differences, rises and falls, and likeness to itself later."""
    _, cosines, _ = _tables()
    cepstra = level_db @ cosines.T
    found = [float(value) for value in np.log(cepstra.std(axis=0) + 0.1)]
    found += [float(value) for value in np.log(np.diff(cepstra, axis=0).std(axis=0) + 0.1)]
    change = np.diff(level_db, axis=0)
    for side in (np.maximum(change, 0.0), np.maximum(-change, 0.0)):
        found += [float(value) for value in np.log(np.percentile(side.mean(axis=1), (50, 90, 98)) + 0.1)]
    shape = level_db - level_db.mean(axis=1, keepdims=True)
    shape = shape / (np.linalg.norm(shape, axis=1, keepdims=True) + 1e-6)
    found += [float(np.mean(np.sum(shape[lag:] * shape[:-lag], axis=1))) for lag in LAGS]
    centred = level_db - level_db.mean(axis=0)
    centred = centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6)
    return found + [float(np.mean(np.sum(centred[lag:] * centred[:-lag], axis=1))) for lag in LAGS]


def _pitch_statistics(strength: np.ndarray, hz: np.ndarray, loud: np.ndarray) -> list[float]:
    """Held notes and glides: how often there is a pitch, how long, and how still it stands."""
    voiced = (strength > 0.55) & loud
    step = np.abs(np.diff(np.log(hz)))[voiced[1:] & voiced[:-1]]
    step = step if step.size else np.asarray([0.5])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], voiced.view(np.int8), [0]])))
    runs = edges[1::2] - edges[::2] if edges.size else np.asarray([0])
    tones = np.log(hz[voiced]) if voiced.any() else np.zeros(1)
    shares = [float(np.mean(step < limit)) for limit in (0.001, 0.005, 0.02, 0.1)]
    return [
        *(float(value) for value in np.percentile(strength, (10, 50, 90))),
        float(strength.std()),
        float(voiced.mean()),
        *shares,
        float(np.log(np.median(step) + 1e-4)),
        float(np.log(tones.std() + 0.01)),
        float(np.log(runs.mean() + 1.0)),
        float(np.log(runs.max() + 1.0)),
        float(np.sum(runs > 2)) / 10.0,
    ]


def _bin_statistics(power: np.ndarray) -> list[float]:
    """Tonal or noisy, and for how long a peak of the spectrum stays in its place."""
    level = np.log(power + power.max() * 10.0 ** (-FLOOR_DB / 10.0) + 1e-12)
    flatness = level.mean(axis=1) - np.log(np.exp(level).mean(axis=1))
    inner = level[:, 1:-1]
    peak = (inner > level[:, :-2]) & (inner > level[:, 2:]) & (inner > level.mean(axis=1, keepdims=True) + 1.0)
    stays = []
    for lag in (3, 9, 18):
        both = peak[lag:] & peak[:-lag]
        stays.append(float(both.sum() / max(1, peak[lag:].sum())))
    return [float(flatness.mean()), float(flatness.std()), *stays, float(peak.mean())]


def window_features(samples: np.ndarray, active: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Features ``[window, feature]`` of every 3 s (one a second) of 16 kHz samples, and the windows' starts in s.

    What is shorter than 3 s makes one window; under 1 s, or digital silence, gives none. ``active``: bool per 20 ms;
    windows of which it marks less than ``LEAST_ACTIVE_SHARE`` are left out: a pause is neither speech nor music.
    """
    if samples.size < SAMPLE_RATE_HZ or not np.any(samples):
        return np.zeros((0, FEATURES)), np.zeros(0)
    mel, bins = _bands_and_bins(samples)
    strength, hz = _pitch(samples)
    size, hop = int(WINDOW_S * FRAME_RATE_HZ), int(HOP_S * FRAME_RATE_HZ)
    rows, starts = [], []
    for first in range(0, max(1, len(mel) - size + 1), hop):
        part = slice(first, min(first + size, len(mel)))
        peak = mel[part].max()
        here = slice(first * HOP // FRAME_SAMPLES, part.stop * HOP // FRAME_SAMPLES)
        if peak <= 0.0 or (active is not None and active[here].sum() < LEAST_ACTIVE_SHARE * (here.stop - here.start)):
            continue
        level_db = 10.0 * np.log10(mel[part] / peak + 10.0 ** (-FLOOR_DB / 10.0))
        loud = level_db.max(axis=1) > -40.0
        rows.append(
            [
                *_level_statistics(level_db),
                *_movement_statistics(level_db),
                *_pitch_statistics(strength[part], hz[part], loud),
                *_bin_statistics(bins[part]),
            ]
        )
        starts.append(first / FRAME_RATE_HZ)
    return np.asarray(rows).reshape(-1, FEATURES), np.asarray(starts)


FEATURES = 5 * len(MODULATION_HZ) + 4 + 2 * CEPSTRA + 6 + 8 + 14 + 6


def file_score(log_odds: np.ndarray) -> float:
    """Of the windows of a recording: the mean of their log-odds, each held within 6 nats; NaN without windows."""
    return float(np.clip(log_odds, -MOST_NATS, MOST_NATS).mean()) if log_odds.size else float("nan")


class SpeechLikeness:
    """The trained check. ``threshold``: a recording whose :func:`file_score` lies below it is taken for no speech."""

    def __init__(self, folder: Path) -> None:
        config = read_config(folder)
        if config.get("features") != FEATURES:
            raise ValueError(f"{folder}: was trained on {config.get('features')} features, this version has {FEATURES}")
        weights = read_weights(folder, config)
        self.threshold = float(config["threshold"])
        self._layers = [
            (weights[f"layers.{place}.weight"].numpy().T.astype(np.float64), weights[f"layers.{place}.bias"].numpy())
            for place in (0, 3, 5)
        ]
        self._centre, self._spread = (weights[name].numpy().astype(np.float64) for name in ("centre", "spread"))

    def log_odds(self, samples: np.ndarray, active: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Log-odds of speech in nats of each window of 16 kHz samples, and where each begins, in seconds."""
        features, starts = window_features(samples, active)
        hidden = np.clip((features - self._centre) / self._spread, -5.0, 5.0)
        for place, (weight, bias) in enumerate(self._layers):
            hidden = hidden @ weight + bias
            if place + 1 < len(self._layers):
                hidden = np.maximum(hidden, 0.0)
        return hidden[:, 0], starts


@lru_cache(maxsize=1)
def shipped_likeness() -> SpeechLikeness:
    """The check in this package, loaded once."""
    return SpeechLikeness(SHIPPED)


class SpeechCheck:
    """The check over one recording, segment by segment: what to leave out, and in the end whether to abstain."""

    def __init__(self, likeness: SpeechLikeness | None = None) -> None:
        self._likeness = likeness or shipped_likeness()
        self._total, self._windows, self._speech = 0.0, 0, 0
        self._log_odds, self._starts_s = np.zeros(0), np.zeros(0)

    def add(self, samples: np.ndarray, active: np.ndarray) -> None:
        """The next segment at 16 kHz and its active frames."""
        self._log_odds, self._starts_s = self._likeness.log_odds(samples, active)
        held = np.clip(self._log_odds, -MOST_NATS, MOST_NATS)
        self._total += float(held.sum())
        self._windows += held.size
        self._speech += int((held > 0.0).sum())

    def kept(self, windows: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Of windows ``(first, past)`` of the last segment, those that nothing says are music or noise.

        A window goes where every check window over its middle finds it unlike speech by 3 nats or more.
        """
        found = []
        for first, past in windows:
            middle_s = (first + past) / 2 / SAMPLE_RATE_HZ
            over = self._log_odds[(self._starts_s <= middle_s) & (middle_s < self._starts_s + WINDOW_S)]
            if not over.size or over.max() > -UNLIKE_NATS:
                found.append((first, past))
        return found

    @property
    def problem(self) -> str:
        """Why a recording as a whole is out of domain, or ""."""
        if not self._windows or self._total / self._windows >= self._likeness.threshold:
            return ""
        share = self._speech / self._windows
        return (
            "out of domain: sounds like music, noise or another kind of sound, not like speech"
            f" ({share:.0%} of it does); cut out the speech"
        )
