"""Is a set of labelled recordings fair? Single numbers about a file or its sound, tried as detectors one by one.

A detector that does well on a set on which the file's rate or length does well too has shown nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from audiolm.audio import AudioClip, AudioError, probe
from detectors.shortcuts import PROBES, UNFAIR_AUC
from evaluation.bootstrap import Resampler
from evaluation.records import GenerationRecord

__all__ = ["LabelledFile", "audit_files", "run_shortcuts"]

RATE_HZ = 16_000
LONGEST_S = 30.0
MOST_PER_CLASS = 100
BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64}
SYNTHETIC_ROLES = ("acoustic", "continuation", "unconditional", "recorded")
LabelledFile = tuple[Path, bool, str]
"""Path, whether bona fide, speaker."""


def _file_probes(path: Path) -> dict[str, float]:
    info = probe(path)
    return {
        "rate_hz": float(info.sample_rate_hz),
        "bits": float(BITS.get(info.subtype, 0)),
        "channels": float(info.channels),
        "file_length_s": info.duration_s,
    }


def _values(path: Path) -> dict[str, float]:
    samples = AudioClip.from_file(path, duration_s=LONGEST_S).at_rate(RATE_HZ).samples
    clip: Mapping[str, Callable[[np.ndarray], float]] = MappingProxyType(dict(PROBES))
    return {**_file_probes(path), **{name: float(measure(samples)) for name, measure in clip.items()}}


def audit_files(files: Iterable[LabelledFile], *, seed: int = 0, replicates: int = 200) -> list[dict[str, Any]]:
    """Each probe's AUC, 0.5 to 1, with its 95 % interval over speakers, and whether it makes the set unfair.

    The direction is the one that does better on the whole set, and stays in the bootstrap. Worst first.

    Raises:
        ValueError: one class is missing.
    """
    rows, labels, speakers = [], [], []
    for path, is_bona_fide, speaker in files:
        try:
            rows.append(_values(path))
        except AudioError:
            continue
        labels.append(is_bona_fide)
        speakers.append(speaker or str(path))
    is_bona = np.asarray(labels, dtype=bool)
    if not rows or is_bona.all() or not is_bona.any():
        raise ValueError(
            f"{int(is_bona.sum())} bona fide and {int((~is_bona).sum())} synthetic files can be read; give both"
        )
    found = [_row(name, rows, is_bona, speakers, Resampler(seed=seed, replicates=replicates)) for name in rows[0]]
    return sorted(found, key=lambda row: -row["auc"])


def _row(
    name: str, rows: Sequence[Mapping[str, float]], is_bona: np.ndarray, speakers: Sequence[str], resampler: Resampler
) -> dict[str, Any]:
    values = np.asarray([row[name] for row in rows])
    names = sorted(set(speakers))
    index = np.asarray([names.index(speaker) for speaker in speakers])
    sign = 1.0 if _auc(values[is_bona], values[~is_bona]) >= 0.5 else -1.0

    def auc(weights: np.ndarray) -> float:
        drawn = weights[index].astype(np.int64)
        bona, synth = (np.repeat(sign * values[kind], drawn[kind]) for kind in (is_bona, ~is_bona))
        return _auc(bona, synth) if bona.size and synth.size else float("nan")

    fewest = min(len(set(index[is_bona])), len(set(index[~is_bona])))
    interval = resampler.statistic(names, fewest, auc, (0.0, 1.0))
    low, high = (round(value, 4) if np.isfinite(value) else None for value in (interval.low, interval.high))
    auc_value = round(interval.estimate, 4)
    return {
        "probe": name,
        "auc": auc_value,
        "low": low,
        "high": high,
        "higher_means": "bona fide" if sign > 0 else "synthetic",
        "unfair": auc_value > UNFAIR_AUC,
        "n_bona_fide": int(is_bona.sum()),
        "n_synthetic": int((~is_bona).sum()),
    }


def _auc(bona: np.ndarray, synth: np.ndarray) -> float:
    ordered = np.sort(synth)
    below = np.searchsorted(ordered, bona, side="left") + np.searchsorted(ordered, bona, side="right")
    return float(below.mean() / (2.0 * synth.size))


def run_shortcuts(folder: Path, records: Sequence[GenerationRecord], *, seed: int) -> list[dict[str, Any]]:
    """The audit of a run's clips: recordings through the codec (else recordings) against each synthetic role.

    At most 100 clips a class; empty where the run holds no human recordings.
    """
    usable = [record for record in records if record.status == "ok" and record.audio_path]
    human = [record for record in usable if record.origin == "human"]
    bona = next((found for role in ("codec", "reference") if len(found := _of(human, role)) > 1), [])
    result = []
    for role in SYNTHETIC_ROLES if bona else ():
        made = _of(usable, role)
        if len(made) < 2:
            continue
        files = [
            (folder / one.audio_path, kind, one.speaker_id)
            for part, kind in ((bona, True), (made, False))
            for one in part
        ]
        try:
            rows = audit_files(files, seed=seed)
        except ValueError:
            continue
        result.append({"bona_fide": bona[0].role, "synthetic": role, "limit": UNFAIR_AUC, "probes": rows})
    return result


def _of(records: Sequence[GenerationRecord], role: str) -> list[GenerationRecord]:
    return [record for record in records if record.role == role][:MOST_PER_CLASS]
