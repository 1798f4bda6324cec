"""Linear-frequency cepstra and Gaussian mixtures: one mixture per class, mean log-likelihood ratio of the frames.

After the baseline of ASVspoof (20 cepstra with first and second changes). Fitted by scikit-learn, kept as plain arrays.
Cepstra have their mean over the window taken off, so that microphone and channel are no cue.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from detectors.artefacts import read_config, read_weights, reading
from detectors.calibration import Calibration
from detectors.linear_features import LFCC_SIZE, lfcc, log_linear
from detectors.windowed import WindowedDetector

__all__ = ["DETECTOR", "SHIPPED", "LfccGmmDetector", "fit_mixture", "frame_log_likelihood"]

SHIPPED = Path(__file__).parent / "pretrained" / "lfcc_gmm"
CLASSES = ("bona_fide", "synthetic")
PARTS = ("log_weights", "means", "precisions")


def fit_mixture(frames: np.ndarray, components: int, seed: int, iterations: int = 20) -> dict[str, np.ndarray]:
    """Diagonal mixture of ``frames`` ``[frame, LFCC_SIZE]`` as float32 arrays named in ``PARTS``."""
    from sklearn.mixture import GaussianMixture

    mixture: Any = GaussianMixture(
        components,
        covariance_type="diag",
        max_iter=iterations,
        reg_covar=1e-4,
        init_params="random_from_data",
        random_state=seed,
        tol=1e-3,
    ).fit(frames)
    values = (np.log(mixture.weights_), mixture.means_, 1.0 / mixture.covariances_)
    return {name: np.asarray(value, np.float32) for name, value in zip(PARTS, values, strict=True)}


def frame_log_likelihood(frames: np.ndarray, mixture: Mapping[str, np.ndarray]) -> np.ndarray:
    """Natural log density of each frame ``[frame, LFCC_SIZE]`` under a mixture, ``[frame]``."""
    log_weights, means, precisions = (mixture[name].astype(np.float64) for name in PARTS)
    frames = frames.astype(np.float64)
    distance = (frames**2) @ precisions.T - 2.0 * frames @ (means * precisions).T
    distance += np.sum(means**2 * precisions, axis=1)
    constant = log_weights + 0.5 * np.sum(np.log(precisions), axis=1) - 0.5 * means.shape[1] * math.log(2.0 * math.pi)
    terms = constant - 0.5 * distance
    highest = terms.max(axis=1, keepdims=True)
    return (highest + np.log(np.exp(terms - highest).sum(axis=1, keepdims=True)))[:, 0]


class LfccGmmDetector(WindowedDetector):
    """Two loaded mixtures with their calibration; see :class:`detectors.Detector`."""

    name = "lfcc_gmm"

    def __init__(
        self,
        mixtures: Mapping[str, Mapping[str, np.ndarray]],
        calibration: Calibration,
        config: Mapping[str, Any],
        folder: Path | None,
    ) -> None:
        super().__init__(calibration, config, folder)
        self.mixtures = mixtures

    def score_window(self, samples: np.ndarray) -> float:
        """Mean log-likelihood ratio of the frames of 1 to 2 s at 16 kHz, float32 ``[time]``."""
        import torch

        with torch.inference_mode():
            frames = lfcc(log_linear(torch.from_numpy(np.ascontiguousarray(samples))[None]))[0].numpy().T
        genuine, generated = (frame_log_likelihood(frames, self.mixtures[name]) for name in CLASSES)
        return float(np.mean(genuine - generated))


def _is_mixture(mixture: Mapping[str, np.ndarray]) -> bool:
    log_weights, means, precisions = (mixture[name] for name in PARTS)
    sizes = means.ndim == 2 and means.shape == (log_weights.size, LFCC_SIZE) and log_weights.ndim == 1
    return sizes and precisions.shape == means.shape and log_weights.size > 0 and bool((precisions > 0).all())


class _Entry:
    name = "lfcc_gmm"

    def load(self, path: str | None = None, device: str = "cpu") -> LfccGmmDetector:
        """The shipped detector, or the one saved in folder ``path``; it runs on the CPU.

        Raises:
            ValueError: a file is missing, altered, or holds no pair of mixtures.
        """
        folder = Path(path) if path is not None else SHIPPED
        config = read_config(folder)
        with reading(folder):
            tensors = read_weights(folder, config)
            wanted = {f"{kind}.{part}" for kind in CLASSES for part in PARTS}
            there = set(tensors) == wanted
            mixtures = {kind: {part: tensors[f"{kind}.{part}"].numpy() for part in PARTS if there} for kind in CLASSES}
            if not there or not all(_is_mixture(mixture) for mixture in mixtures.values()):
                raise ValueError(f"{folder}: the weights are no two mixtures over {LFCC_SIZE} cepstra; train it again")
            return LfccGmmDetector(mixtures, Calibration.from_dict(config["calibration"]), config, folder)


DETECTOR = _Entry()
