"""Plain spectral features and their clusters: what a learnt representation must beat.

``mfcc``: 13 cepstra with first and second differences (39 numbers), 25 ms windows every 10 ms; ``log-mel``: 80 bands,
40 to 7,600 Hz. Each dimension loses its mean over the utterance and is divided by its deviation, which takes away level
and channel. ``...@25`` averages four frames to one per 40 ms, the rate of AudioLM's semantic tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from audiolm.audio import AudioClip

__all__ = ["PLAIN_FEATURES", "Representation", "clustered", "fitting_frames", "plain_features"]

SAMPLE_RATE_HZ = 16_000
WINDOW, HOP, N_FFT = 400, 160, 512
N_MELS, N_CEPSTRA, LOW_HZ, HIGH_HZ = 80, 13, 40.0, 7_600.0
MIN_POWER = 1e-7
MIN_DEVIATION = 1e-3
DELTA_REACH = 2
MAX_FIT_FRAMES = 200_000
RESTARTS = 5
PLAIN_FEATURES = ("mfcc", "log-mel", "mfcc@25", "log-mel@25")


@dataclass(frozen=True, slots=True)
class Representation:
    """Turns a clip into features ``[frame, dim]`` or tokens ``[frame]`` (``discrete``) at ``frame_rate_hz``.

    ``centroids``: the vectors behind the tokens ``[token, dim]``, where there are any.
    """

    name: str
    encode: Callable[[AudioClip], np.ndarray]
    frame_rate_hz: float
    discrete: bool = False
    centroids: np.ndarray | None = None


def plain_features(name: str) -> Representation:
    """One of ``PLAIN_FEATURES``.

    Raises:
        ValueError: another name.
    """
    if name not in PLAIN_FEATURES:
        raise ValueError(f"there are no features {name!r}; use one of {', '.join(PLAIN_FEATURES)}")
    kind, _, rate = name.partition("@")
    per_frame = 4 if rate else 1

    def encode(clip: AudioClip) -> np.ndarray:
        samples = clip.at_rate(SAMPLE_RATE_HZ).samples
        frames = _log_mel(samples, multiple=HOP * per_frame)
        if kind == "mfcc":
            cepstra = frames @ _cosines(N_CEPSTRA, N_MELS).T
            first = _differences(cepstra)
            frames = np.concatenate([cepstra, first, _differences(first)], axis=1)
        frames = frames - frames.mean(axis=0)
        frames = frames / np.maximum(frames.std(axis=0), MIN_DEVIATION)
        return frames.reshape(-1, per_frame, frames.shape[1]).mean(axis=1).astype(np.float32)

    return Representation(name, encode, SAMPLE_RATE_HZ / HOP / per_frame)


def fitting_frames(base: Representation, clips: Iterable[AudioClip], *, seed: int) -> np.ndarray:
    """The features of ``clips`` that k-means is fitted on ``[frame, dim]``, at most ``MAX_FIT_FRAMES`` drawn by seed.

    Raises:
        ValueError: ``base`` is discrete.
    """
    if base.discrete:
        raise ValueError(f"{base.name} is discrete already; cluster features")
    frames = np.concatenate([base.encode(clip) for clip in clips])
    if len(frames) > MAX_FIT_FRAMES:
        chosen = np.random.default_rng(seed).choice(len(frames), MAX_FIT_FRAMES, replace=False)
        frames = frames[np.sort(chosen)]
    return frames


def clustered(base: Representation, frames: np.ndarray, *, n_clusters: int, seed: int) -> Representation:
    """Tokens of ``base``: nearest of ``n_clusters`` k-means centroids of ``frames``, each dimension normalised first.

    The tightest of ``RESTARTS`` runs is kept, as for our own tokens.

    Raises:
        ValueError: fewer frames than clusters.
    """
    from sklearn.cluster import MiniBatchKMeans

    if len(frames) < n_clusters:
        raise ValueError(f"{len(frames)} frames cannot give {n_clusters} clusters; use more speech")
    mean, deviation = frames.mean(axis=0), np.maximum(frames.std(axis=0), 1e-5)
    points = (frames - mean) / deviation
    runs = [
        MiniBatchKMeans(
            n_clusters=n_clusters,
            random_state=seed + restart,
            batch_size=8192,
            n_init=3,  # pyright: ignore[reportArgumentType]  (its default's type is taken for the parameter's)
            max_iter=60,
            max_no_improvement=40,
        ).fit(points)
        for restart in range(RESTARTS)
    ]
    kmeans = min(runs, key=lambda run: run.inertia_)

    def encode(clip: AudioClip) -> np.ndarray:
        normal = ((base.encode(clip) - mean) / deviation).astype(frames.dtype)
        return np.asarray(kmeans.predict(normal), dtype=np.int64)

    centroids = np.asarray(kmeans.cluster_centers_)
    return Representation(f"{base.name}/{n_clusters}", encode, base.frame_rate_hz, True, centroids)


def _log_mel(samples: np.ndarray, *, multiple: int) -> np.ndarray:
    """``[frame, mel]``; frame ``i`` is centred in its hop; the end is filled with zeros to a whole number of frames."""
    import torch
    from torchaudio.functional import melscale_fbanks

    side = (N_FFT - HOP) // 2
    filled = np.pad(samples.astype(np.float32), (side, side + -len(samples) % multiple))
    spectrum = torch.stft(
        torch.from_numpy(filled), N_FFT, HOP, WINDOW, torch.hann_window(WINDOW), center=False, return_complex=True
    )
    bank = melscale_fbanks(N_FFT // 2 + 1, LOW_HZ, HIGH_HZ, N_MELS, SAMPLE_RATE_HZ, norm=None, mel_scale="htk")
    power = torch.view_as_real(spectrum).square().sum(-1)
    return torch.log(power.T @ bank + MIN_POWER).numpy()


def _cosines(count: int, length: int) -> np.ndarray:
    """Orthonormal DCT-II rows ``[count, length]``."""
    row, column = np.arange(count)[:, None], np.arange(length)
    table = np.cos(np.pi * row * (2 * column + 1) / (2 * length)) * np.sqrt(2 / length)
    table[0] /= np.sqrt(2)
    return table.astype(np.float32)


def _differences(frames: np.ndarray) -> np.ndarray:
    """Regression slope over two frames to either side; the ends are repeated."""
    filled = np.pad(frames, ((DELTA_REACH, DELTA_REACH), (0, 0)), mode="edge")
    count = len(frames)
    slope = sum(
        reach * (filled[DELTA_REACH + reach :][:count] - filled[DELTA_REACH - reach :][:count])
        for reach in range(1, DELTA_REACH + 1)
    )
    return np.asarray(slope) / (2 * sum(reach**2 for reach in range(1, DELTA_REACH + 1)))
