"""ABX phone discriminability (Schatz et al. 2013): is x nearer to another token of its phone than to one of another?

For phones A and B in one context: error = P(d(a, x) > d(b, x)) with ties half, a and x of A, b of B. ``within``: all
three from one speaker; ``across``: a and b from one speaker, x from another. Averaged as in the ZeroSpeech challenges
(Dunbar et al. 2017; Kahn et al. 2020): over contexts, then over speakers (across: first over the speakers of x), then
over ordered phone pairs. 0 is perfect, 0.5 is chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.bootstrap import SHARE, Interval, Resampler
from evaluation.language.abx_cells import AbxDesign, Cells, design_cells
from evaluation.language.distances import pair_distances
from evaluation.language.items import AbxItem

__all__ = ["AbxScore", "abx_score", "relative_reduction"]


@dataclass(frozen=True, slots=True)
class AbxScore:
    """ABX error of one representation in one mode.

    ``errors``, ``speaker``, ``x_speaker``, ``pair``: one entry per (phone pair, speaker, speaker of x), averaged over
    contexts; ``speakers``: their names; ``triplets``: how many (a, b, x) were compared.
    """

    mode: str
    errors: np.ndarray
    speaker: np.ndarray
    x_speaker: np.ndarray
    pair: np.ndarray
    speakers: tuple[str, ...]
    triplets: int
    cells: int

    @property
    def error(self) -> float:
        """The error rate in [0, 1]."""
        return self.weighted(np.ones(len(self.speakers)))

    @property
    def phone_pairs(self) -> int:
        return len(np.unique(self.pair))

    def weighted(self, weights: np.ndarray) -> float:
        """The error where speaker ``i`` counts ``weights[i]`` times; NaN where nothing is left."""
        x_weight = weights[self.x_speaker] if self.mode == "across" else np.ones(len(self.errors))
        rows, columns = int(self.pair.max()) + 1, len(self.speakers)
        place = self.pair * columns + self.speaker
        below = np.bincount(place, x_weight, rows * columns)
        above = np.bincount(place, x_weight * self.errors, rows * columns)
        speaker_weight = np.where(below > 0, np.tile(weights, rows), 0.0).reshape(rows, columns)
        with np.errstate(invalid="ignore"):
            of_speaker = np.where(below > 0, above / below, 0.0).reshape(rows, columns)
        counts = speaker_weight.sum(axis=1)
        if not counts.any():
            return math.nan
        of_pair = (speaker_weight * of_speaker).sum(axis=1)[counts > 0] / counts[counts > 0]
        return float(of_pair.mean())

    def interval(self, resampler: Resampler) -> Interval:
        """The error with an interval over speakers."""
        return resampler.statistic(self.speakers, len(self.speakers), self.weighted, SHARE)


def abx_score(
    items: Sequence[AbxItem], pieces: Sequence[np.ndarray | None], design: AbxDesign, *, distance: str
) -> AbxScore:
    """ABX error of ``pieces`` (:func:`evaluation.language.distances.cut_items`) over ``items``.

    Items without a piece are left out before sampling; two representations are compared on the same triplets where
    the same items have a piece in both.

    Raises:
        ValueError: no triplet can be made of the items.
    """
    cells = design_cells(items, [piece is not None for piece in pieces], design)
    keys = np.concatenate([cells.same_keys, cells.other_keys])
    unique, back = np.unique(keys, return_inverse=True)
    distances = pair_distances(pieces, unique // len(items), unique % len(items), distance)[back]
    same, other = distances[: len(cells.same_keys)], distances[len(cells.same_keys) :]
    errors = _cell_errors(cells, same, other)
    return _average_contexts(cells, errors, design.mode)


def relative_reduction(score: AbxScore, baseline: AbxScore, resampler: Resampler) -> Interval:
    """``1 - error / baseline error``, speakers drawn alike for both; needs the same triplets in both."""
    if score.speakers != baseline.speakers or score.triplets != baseline.triplets or score.mode != baseline.mode:
        raise ValueError("the two scores stand on different triplets; score both on the same items and the same mode")

    def reduction(weights: np.ndarray) -> float:
        below = baseline.weighted(weights)
        return 1.0 - score.weighted(weights) / below if below > 0 else math.nan

    return resampler.statistic(score.speakers, len(score.speakers), reduction, (None, 1.0))


def _cell_errors(cells: Cells, same: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Mean error per cell; cells of one shape are computed together."""
    errors = np.empty(len(cells.shapes))
    for shape in np.unique(cells.shapes, axis=0):
        chosen = np.flatnonzero((cells.shapes == shape).all(axis=1))
        n_x, n_a, n_b = (int(size) for size in shape)
        near = same[cells.same_start[chosen, None] + np.arange(n_x * n_a)].reshape(-1, n_x, n_a, 1)
        far = other[cells.other_start[chosen, None] + np.arange(n_x * n_b)].reshape(-1, n_x, 1, n_b)
        errors[chosen] = ((near > far) + 0.5 * (near == far)).mean(axis=(1, 2, 3))
    return errors


def _average_contexts(cells: Cells, errors: np.ndarray, mode: str) -> AbxScore:
    count = len(cells.speakers)
    key = (cells.pair.astype(np.int64) * count + cells.speaker) * count + cells.x_speaker
    mean, unique = _mean_by(key, errors)
    return AbxScore(
        mode=mode,
        errors=mean,
        speaker=unique // count % count,
        x_speaker=unique % count,
        pair=unique // count**2,
        speakers=cells.speakers,
        triplets=int(cells.shapes.prod(axis=1).sum()),
        cells=len(errors),
    )


def _mean_by(key: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean per distinct key, and the keys."""
    unique, place = np.unique(key, return_inverse=True)
    return np.bincount(place, values) / np.bincount(place), unique
