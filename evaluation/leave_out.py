"""Leave one generator, or one codec, out: a detector trained without it, tried on it, with a threshold carried over.

Folds are trained in seconds: linear-frequency cepstra of 2 s windows, their means, spreads and changes, and a
logistic regression. It is no detector to ship; it shows what a data set teaches about systems that are not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import fft

from detectors.error_rates import eer, eer_threshold, error_rates_at
from detectors.labelled import BONA_FIDE, LabelledClip, load_clips
from evaluation.bootstrap import Resampler

__all__ = ["codec_matrix", "clip_features", "generator_matrix", "read_clip_cache"]

RATE_HZ = 16_000
FFT, HOP, WINDOW_S = 512, 160, 2.0
BANDS, CEPSTRA, HIGHEST_HZ = 70, 20, 7_600.0
FLOOR_DB = 60.0
OWN_CODEC = "own_codec"
RIDGE = 1.0
Scores = dict[str, np.ndarray]


def read_clip_cache(folder: Path) -> list[LabelledClip]:
    """The clips that ``detect-train`` left in its cache, each once.

    Raises:
        ValueError: no clips there.
    """
    paths = sorted(Path(folder).glob("*.safetensors"))
    found: dict[tuple[str, ...], LabelledClip] = {}
    for path in paths:
        for clip in load_clips(path):
            found[(clip.generator, clip.condition, clip.speaker_id, clip.utterance_id, clip.split)] = clip
    if not found:
        raise ValueError(f"{folder}: holds no clips; name the folder that detect-train's setting cache names")
    return list(found.values())


@lru_cache(maxsize=1)
def _filters() -> np.ndarray:
    corners = np.linspace(0.0, HIGHEST_HZ, BANDS + 2)
    bins = np.arange(FFT // 2 + 1) * RATE_HZ / FFT
    low, centre, high = (corners[k : k + BANDS, None] for k in range(3))
    return np.maximum(0.0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))


def clip_features(samples: np.ndarray) -> np.ndarray:
    """One row per 2 s of 16 kHz samples: spread of cepstra and of their changes, mean shape about the clip's own."""
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples.astype(np.float32), (0, FFT)), FFT)[::HOP]
    spectrum = np.asarray(fft.rfft(frames * np.hanning(FFT).astype(np.float32)))
    power = (np.abs(spectrum) ** 2) @ _filters().T.astype(np.float32)
    level = np.log(power / max(float(power.max()), 1e-12) + 10.0 ** (-FLOOR_DB / 10.0))
    cepstra = np.asarray(fft.dct(level, norm="ortho", axis=1))[:, :CEPSTRA]
    first = np.gradient(cepstra, axis=0)
    second = np.gradient(first, axis=0)
    size = int(WINDOW_S * RATE_HZ / HOP)
    rows = []
    for start in range(0, max(1, len(cepstra) - size + 1), size // 2):
        parts = [part[start : start + size] for part in (cepstra, first, second)]
        spreads = [np.log(part.std(axis=0) + 1e-3) for part in parts]
        fine = level[start : start + size]
        roughness = np.log(np.abs(np.diff(fine, axis=0)).mean(axis=0) + 1e-3)
        rows.append(np.concatenate([*spreads, roughness, fine.std(axis=0)]))
    return np.asarray(rows)


class _Fold:
    """A logistic regression over rows, generators and channels weighing the same within a class; clip score: mean."""

    def __init__(self, rows: Sequence[np.ndarray], clips: Sequence[LabelledClip]) -> None:
        from sklearn.linear_model import LogisticRegression

        stacked = np.concatenate(rows)
        self.centre, self.spread = stacked.mean(axis=0), stacked.std(axis=0) + 1e-6
        owner = np.repeat(np.arange(len(rows)), [len(part) for part in rows])
        labels = np.asarray([clip.is_bona_fide for clip in clips])[owner]
        cells = [(clip.is_bona_fide, clip.generator, clip.condition) for clip in clips]
        counts: dict[tuple[bool, str, str], int] = {}
        for place in owner:
            counts[cells[place]] = counts.get(cells[place], 0) + 1
        per_class = {kind: sum(cell[0] is kind for cell in counts) for kind in (True, False)}
        weights = np.asarray([1.0 / counts[cells[place]] / per_class[cells[place][0]] for place in owner])
        weights *= len(owner) / 2.0
        self._model = LogisticRegression(C=1.0 / RIDGE, max_iter=400)
        self._model.fit((stacked - self.centre) / self.spread, labels, sample_weight=weights)

    def __call__(self, rows: np.ndarray) -> float:
        return float(self._model.decision_function((rows - self.centre) / self.spread).mean())


class _Set:
    """Clips with their features, once for all folds."""

    def __init__(self, clips: Sequence[LabelledClip]) -> None:
        self.clips = list(clips)
        self.rows = [clip_features(clip.samples) for clip in clips]

    def of(self, holds: Callable[[LabelledClip], bool]) -> list[int]:
        return [place for place, clip in enumerate(self.clips) if holds(clip)]

    def fold(self, holds: Callable[[LabelledClip], bool]) -> _Fold:
        places = self.of(lambda clip: clip.split == "train" and holds(clip))
        kinds = {self.clips[place].is_bona_fide for place in places}
        if len(kinds) < 2:
            raise ValueError("a fold has no training clips of one class; it needs at least two generators")
        return _Fold([self.rows[place] for place in places], [self.clips[place] for place in places])


def _threshold(data: _Set, fold: _Fold, holds: Callable[[LabelledClip], bool]) -> float:
    """The equal-error threshold on held-out speakers, of what the fold may know."""
    places = data.of(lambda clip: clip.split == "held" and holds(clip))
    scores = {
        kind: [fold(data.rows[p]) for p in places if data.clips[p].is_bona_fide is kind] for kind in (True, False)
    }
    if not scores[True] or not scores[False]:
        raise ValueError("the cache holds no held-out clips of one class, so no threshold can be carried over")
    return eer_threshold(scores[True], scores[False])


def _row(name: str, data: _Set, fold: _Fold, places: Sequence[int], threshold: float, seed: int) -> dict[str, Any]:
    """Error rates on test clips ``places``; the interval draws speakers."""
    scores = np.asarray([fold(data.rows[place]) for place in places])
    is_bona = np.asarray([data.clips[place].is_bona_fide for place in places])
    speakers = [data.clips[place].speaker_id for place in places]
    names = sorted(set(speakers))
    index = np.asarray([names.index(speaker) for speaker in speakers])

    def rate(weights: np.ndarray) -> float:
        drawn = weights[index].astype(np.int64)
        bona, synth = (np.repeat(scores[kind], drawn[kind]) for kind in (is_bona, ~is_bona))
        return eer(bona, synth) if bona.size and synth.size else float("nan")

    fewest = min(len(set(index[is_bona])), len(set(index[~is_bona])))
    interval = Resampler(seed=seed, replicates=200).statistic(names, fewest, rate, (0.0, 1.0))
    p_false_alarm, p_miss = error_rates_at(scores[is_bona], scores[~is_bona], threshold)
    return {
        "name": name,
        "eer": round(interval.estimate, 6),
        "low": round(interval.low, 6) if np.isfinite(interval.low) else None,
        "high": round(interval.high, 6) if np.isfinite(interval.high) else None,
        "p_miss_transferred": round(p_miss, 6),
        "p_false_alarm_transferred": round(p_false_alarm, 6),
        "half_total_transferred": round((p_miss + p_false_alarm) / 2, 6),
        "n_bona_fide": int(is_bona.sum()),
        "n_synthetic": int((~is_bona).sum()),
    }


def _plain(clip: LabelledClip) -> bool:
    return clip.condition in ("raw", OWN_CODEC)


def generator_matrix(clips: Sequence[LabelledClip], *, seed: int = 0) -> dict[str, Any]:
    """Each generator kept from training and threshold, then met; and every fold on every generator.

    Plain clips (no channel) and, on the genuine side, recordings through our own codec.

    Raises:
        ValueError: fewer than two generators with training, held-out and test clips.
    """
    data = _Set([clip for clip in clips if _plain(clip)])
    names = _complete(data.clips, lambda clip: clip.generator)
    if len(names) < 2:
        raise ValueError(f"{len(names)} generators have clips in all splits; leaving one out needs two")
    human = data.of(lambda clip: clip.is_bona_fide and clip.split == "test" and clip.condition == "raw")
    tests = {name: data.of(lambda clip, name=name: clip.generator == name and clip.split == "test") for name in names}
    everything = data.fold(lambda clip: clip.is_bona_fide or clip.generator in names)
    limit = _threshold(data, everything, lambda clip: True)
    seen = [_row(name, data, everything, [*human, *tests[name]], limit, seed) for name in names]
    left_out, matrix = [], []
    for name in names:

        def known(clip: LabelledClip, name: str = name) -> bool:
            return clip.is_bona_fide or (clip.generator in names and clip.generator != name)

        fold = data.fold(known)
        left_out.append(_row(name, data, fold, [*human, *tests[name]], _threshold(data, fold, known), seed))
        bona = [fold(data.rows[place]) for place in human]
        matrix.append([round(eer(bona, [fold(data.rows[p]) for p in tests[other]]), 4) for other in names])
    return _summary("generator", left_out, seen, names, matrix)


def codec_matrix(clips: Sequence[LabelledClip], *, seed: int = 0) -> dict[str, Any]:
    """Each channel kept from training and threshold, then met by both classes; and every fold on every channel.

    Raises:
        ValueError: fewer than two channels that both classes have in all splits.
    """
    data = _Set([clip for clip in clips if clip.condition != OWN_CODEC])
    genuine, made = (
        _complete([clip for clip in data.clips if clip.is_bona_fide is kind], lambda clip: clip.condition)
        for kind in (True, False)
    )
    names = [name for name in genuine if name in made]
    if len(names) < 2:
        raise ValueError(f"{len(names)} channels have clips of both classes in all splits; leaving one out needs two")
    tests = {name: data.of(lambda clip, name=name: clip.condition == name and clip.split == "test") for name in names}
    everything = data.fold(lambda clip: clip.condition in names)
    limit = _threshold(data, everything, lambda clip: clip.condition in names)
    seen = [_row(name, data, everything, tests[name], limit, seed) for name in names]
    left_out, matrix = [], []
    for name in names:

        def known(clip: LabelledClip, name: str = name) -> bool:
            return clip.condition in names and clip.condition != name

        fold = data.fold(known)
        left_out.append(_row(name, data, fold, tests[name], _threshold(data, fold, known), seed))
        matrix.append([_plain_eer(data, fold, tests[other]) for other in names])
    return _summary("codec", left_out, seen, names, matrix)


def _plain_eer(data: _Set, fold: _Fold, places: Sequence[int]) -> float:
    scores = {True: [], False: []}
    for place in places:
        scores[data.clips[place].is_bona_fide].append(fold(data.rows[place]))
    return round(eer(scores[True], scores[False]), 4)


def _complete(clips: Sequence[LabelledClip], key: Callable[[LabelledClip], str]) -> list[str]:
    """Names with clips in training, held-out and test, bona fide left out."""
    splits: dict[str, set[str]] = {}
    for clip in clips:
        splits.setdefault(key(clip), set()).add(clip.split)
    return sorted(name for name, found in splits.items() if {"train", "held", "test"} <= found and name != BONA_FIDE)


def _summary(
    what: str,
    left_out: Sequence[Mapping[str, Any]],
    seen: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    matrix: Sequence[Sequence[float]],
) -> dict[str, Any]:
    rates = [row["eer"] for row in left_out]
    worst = int(np.argmax(rates))
    return {
        "left_out": what,
        "names": list(names),
        "rows": list(left_out),
        "seen": list(seen),
        "matrix_eer": [list(row) for row in matrix],
        "macro_eer": round(float(np.mean(rates)), 6),
        "macro_eer_seen": round(float(np.mean([row["eer"] for row in seen])), 6),
        "macro_half_total_transferred": round(float(np.mean([row["half_total_transferred"] for row in left_out])), 6),
        "worst": names[worst],
        "worst_eer": rates[worst],
        "model": "logistic regression on cepstral statistics of 2 s windows",
    }
