"""ABX of several representations on the same triplets, with intervals over speakers and paired reductions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from audiolm.audio import AudioClip
from evaluation.bootstrap import Interval, Resampler
from evaluation.language.abx import AbxScore, abx_score, relative_reduction
from evaluation.language.abx_cells import AbxDesign
from evaluation.language.distances import cut_items
from evaluation.language.features import Representation
from evaluation.language.items import AbxItem
from evaluation.progress import Progress, silent

__all__ = ["AbxRow", "compare_representations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AbxRow:
    """One representation in one mode: the error, its reduction against the baseline, and what they stand on."""

    representation: str
    mode: str
    distance: str
    error: Interval
    reduction: Interval | None
    triplets: int
    cells: int
    phone_pairs: int
    speakers: int
    items: int
    items_too_short: int


def compare_representations(
    items: Sequence[AbxItem],
    clips: Mapping[str, Callable[[], AudioClip]],
    representations: Sequence[Representation],
    designs: Sequence[AbxDesign],
    *,
    resampler: Resampler,
    baseline: str = "",
    distance: str = "",
    min_frames: int = 2,
    progress: Progress = silent,
) -> list[AbxRow]:
    """ABX error of every representation under every design.

    ``clips``: by the items' file, read when needed. Items that are too short for any of the representations are left
    out for all. ``baseline``: the representation that reductions are relative to; ``distance``: how tokens are compared
    (``identity`` by default; ``identity`` also where ``centroid`` was asked and none are known), features by angle.

    Raises:
        ValueError: no such baseline, an item of an unknown file, no item or no triplet left.
    """
    names = [one.name for one in representations]
    if baseline and baseline not in names:
        raise ValueError(f"baseline {baseline!r} is not among the representations ({', '.join(names)})")
    cut = [_cut(items, clips, one, min_frames, progress) for one in representations]
    usable = [all(pieces[index] is not None for pieces in cut) for index in range(len(items))]
    if not any(usable):
        raise ValueError(f"no item is {min_frames} frames long in every representation; use span triphone")
    kept = [item for item, ok in zip(items, usable, strict=True) if ok]
    rows = []
    for design in designs:
        scores: list[AbxScore] = []
        for one, pieces in zip(representations, cut, strict=True):
            own = [piece for piece, ok in zip(pieces, usable, strict=True) if ok]
            used = _distance(one, distance)
            if used == "centroid" and one.centroids is not None:
                own, used = [None if piece is None else one.centroids[piece] for piece in own], "angular"
            scores.append(abx_score(kept, own, design, distance=used))
        base = scores[names.index(baseline)] if baseline else None
        for one, score in zip(representations, scores, strict=True):
            against = base if base is not None and one.name != baseline else None
            rows.append(
                AbxRow(
                    representation=one.name,
                    mode=design.mode,
                    distance=_distance(one, distance),
                    error=score.interval(resampler),
                    reduction=None if against is None else relative_reduction(score, against, resampler),
                    triplets=score.triplets,
                    cells=score.cells,
                    phone_pairs=score.phone_pairs,
                    speakers=len(score.speakers),
                    items=len(kept),
                    items_too_short=len(items) - len(kept),
                )
            )
    return rows


def _distance(representation: Representation, asked: str) -> str:
    """The distance asked for where it fits; ``centroid`` and ``identity`` and ``edit`` are for tokens only."""
    if not representation.discrete:
        return "angular"
    return asked if asked and (asked != "centroid" or representation.centroids is not None) else "identity"


def _cut(
    items: Sequence[AbxItem],
    clips: Mapping[str, Callable[[], AudioClip]],
    representation: Representation,
    min_frames: int,
    progress: Progress,
) -> list[np.ndarray | None]:
    """Every item's frames; only one recording is held at a time."""
    of_file: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        of_file.setdefault(item.file, []).append(index)
    missing = sorted(set(of_file) - set(clips))
    if missing:
        raise ValueError(f"items name {len(missing)} recordings that are not there, first {missing[0]}; check the ids")
    pieces: list[np.ndarray | None] = [None] * len(items)
    with progress(representation.name, len(of_file)) as advance:
        for file, numbers in of_file.items():
            frames = {file: representation.encode(clips[file]())}
            own = cut_items([items[i] for i in numbers], frames, representation.frame_rate_hz, min_frames)
            for index, piece in zip(numbers, own, strict=True):
                pieces[index] = piece
            advance(1)
    return pieces
