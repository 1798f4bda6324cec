"""Fit the two detectors that lean on our own model, calibrate them on other speakers, measure them, write them.

What is slow, the numbers of clips, is kept in a folder by what was measured and what a clip sounds like.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from detectors.artefacts import write_artefact
from detectors.assessment import ScoredClip, calibrate, error_table, pooled_measures, reference_rows, rows_as_dicts
from detectors.assessment import score_clips as score_all
from detectors.calibration import Calibration
from detectors.error_rates import eer
from detectors.labelled import LabelledClip, count_clips
from detectors.linear_head import HeadDetector, LinearHead, VectorsOf, fit_head
from detectors.preparation import active_frames
from detectors.windowed import REFERENCE_SCORES, speech_windows
from evaluation.detector_fusion import BASE, IDENTITY, operating_point
from evaluation.whole_files import write_whole

__all__ = [
    "Fitted",
    "Kept",
    "KeptVectors",
    "Windows",
    "best_ridge",
    "fit_on",
    "one_sided",
    "score",
    "windows_of",
    "write",
]

RIDGES = (0.3, 3.0, 30.0)


class Kept:
    """``measure`` of samples, each once: arrays by name, kept in a folder as float32."""

    def __init__(self, measure: Callable[[np.ndarray], Mapping[str, np.ndarray]], folder: Path, key: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._measure, self._folder, self._key = measure, folder, key

    def __call__(self, samples: np.ndarray) -> dict[str, np.ndarray]:
        content = np.ascontiguousarray(samples, dtype=np.float32)
        path = self._folder / f"{hashlib.sha256(self._key.encode() + content.tobytes()).hexdigest()[:24]}.npz"
        if not path.exists():
            found = {name: np.asarray(values, np.float32) for name, values in self._measure(content).items()}
            temporary = path.with_suffix(".part")
            with temporary.open("wb") as stream:
                np.savez(stream, **found)  # type: ignore[arg-type]
            temporary.replace(path)
        with np.load(path) as stored:
            return {name: stored[name] for name in stored.files}


class KeptVectors:
    """``vectors_of`` the windows of whole clips that are judged, by a :class:`Kept`; ``columns`` of them."""

    def __init__(self, vectors_of: VectorsOf, folder: Path, key: str, columns: np.ndarray | None = None) -> None:
        def measure(samples: np.ndarray) -> dict[str, np.ndarray]:
            windows = speech_windows(samples, active_frames(samples))
            vectors = vectors_of(samples, windows) if windows else np.zeros((0, 1))
            return {"windows": np.asarray(windows, np.float32).reshape(-1, 2), "vectors": vectors}

        self.kept, self.columns = Kept(measure, folder, key), columns

    def __call__(self, samples: np.ndarray, windows: Sequence[tuple[int, int]]) -> np.ndarray:
        found = self.kept(samples)
        places = {(int(first), int(past)): row for row, (first, past) in enumerate(found["windows"])}
        vectors = found["vectors"][[places[window] for window in windows]]
        return vectors if self.columns is None else vectors[:, self.columns]


@dataclass(frozen=True, slots=True)
class Windows:
    """Numbers of windows of clips ``[window, number]``, the clip each is of, and what it counts within its class."""

    vectors: np.ndarray
    clips: Sequence[LabelledClip]
    shares: np.ndarray

    @property
    def is_bona_fide(self) -> np.ndarray:
        return np.array([clip.is_bona_fide for clip in self.clips])


def windows_of(vectors_of: VectorsOf, clips: Sequence[LabelledClip]) -> Windows:
    """All windows of clips; every generator and condition counts the same within its class."""
    vectors, owners = [], []
    for clip in clips:
        windows = speech_windows(clip.samples, active_frames(clip.samples))
        if windows:
            vectors.append(vectors_of(clip.samples, windows))
            owners += [clip] * len(windows)
    cells = [(clip.generator, clip.condition) for clip in owners]
    sizes = Counter(cells)
    return Windows(np.concatenate(vectors), owners, np.array([1.0 / sizes[cell] for cell in cells]))


@dataclass(frozen=True, slots=True)
class Fitted:
    """A detector before it is written: how its numbers are had, the head, and what chose it."""

    name: str
    vectors_of: VectorsOf
    head: LinearHead
    calibration: Calibration = IDENTITY

    def detector(self) -> HeadDetector:
        config = {**BASE, "calibration": self.calibration.to_dict()}
        return HeadDetector(self.name, self.vectors_of, self.head, config, None)


def score(fitted: Fitted, clips: Sequence[LabelledClip]) -> list[ScoredClip]:
    """Each clip through the whole detector, uncalibrated."""
    return score_all(fitted.detector().score_blocks, clips)


def best_ridge(
    training: Windows, held: Windows, ridges: Sequence[float] = RIDGES, *, squares: bool = False
) -> tuple[LinearHead, float, float]:
    """The head whose windows of calibration speakers have the lowest equal error rate; its ridge and that rate.

    The rate is the mean over generators, each against all genuine windows.
    """
    tried = []
    for ridge in ridges:
        head = fit_head(training.vectors, training.is_bona_fide, training.shares, ridge=ridge, squares=squares)
        scores, genuine = head(held.vectors), held.is_bona_fide
        names = np.array([clip.generator for clip in held.clips])
        rates = [eer(scores[genuine], scores[names == name]) for name in sorted(set(names[~genuine]))]
        tried.append((float(np.mean(rates)), ridge, head))
    rate, ridge, head = min(tried, key=lambda found: found[:2])
    return head, ridge, rate


def fit_on(name: str, vectors_of: VectorsOf, head: LinearHead, held: Sequence[LabelledClip]) -> tuple[Fitted, list]:
    """The head with its calibration on ``held`` clips, and those clips' scores."""
    fitted = Fitted(name, vectors_of, head)
    scored = score(fitted, held)
    return replace(fitted, calibration=calibrate(scored)), scored


def one_sided(calibration: Calibration) -> Calibration:
    """Bounded above at ln 2: half of the synthetic speech it meets may be of another system, which looks genuine here.

    Evidence of our own model's hand can speak for "ours"; without it, next to nothing is said for "bona fide".
    """
    return replace(calibration, independent_synth=1)


def write(
    folder: Path,
    fitted: Fitted,
    held: Sequence[ScoredClip],
    test: Sequence[ScoredClip],
    training: Sequence[LabelledClip],
    extra: Mapping[str, Any],
    card: Callable[[Mapping[str, Any], Sequence[ScoredClip]], str],
    *,
    about: Sequence[ScoredClip],
) -> dict[str, Any]:
    """Weights, config, reference scores and card of a detector; gives its config.

    ``about``: those of the test clips that the pooled measures are of.
    """
    point = operating_point(held, fitted.calibration)
    rows = error_table(about, fitted.calibration, point["threshold_llr"])
    pooled = pooled_measures(about, fitted.calibration)
    config = {
        **BASE,
        "version": "1",
        **point,
        **extra,
        "numbers": int(fitted.head.centre.size),
        "calibration": fitted.calibration.to_dict(),
        "training": {
            "clips": count_clips([*training, *(item.clip for item in (*held, *test))]),
            "test": rows_as_dicts(rows),
            "test_pooled": {name: round(value, 6) for name, value in pooled.items()},
        },
    }
    humans = [item for item in held if item.clip.is_bona_fide]
    references = {"scores": reference_rows([*humans, *test], fitted.calibration)}
    write_artefact(folder, fitted.head.tensors(), config, {REFERENCE_SCORES: references})
    write_whole(folder / "README.md", card(config, test))
    return config
