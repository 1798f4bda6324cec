"""Error rates by group of speakers (gender, accent): trials joined to a manifest that says who speaks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.bootstrap import Resampler
from evaluation.detection_trials import Pairing, Trial, pair
from evaluation.manifest import read_utterances

__all__ = ["rates_by_group"]

FEWEST_SPEAKERS = 2


def rates_by_group(
    paired: Pairing, manifest: Path, axes: Sequence[str], threshold: float, *, replicates: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Per axis and group: genuine trials called synthetic, synthetic ones called genuine, 95 % over speakers.

    ``manifest``: rows joined to trials by name or path as scores are. Speech through the manifest's speakers; trials
    that it does not hold are left out and counted under the group "".

    Raises:
        ValueError: the manifest knows none of the axes, or none of the trials.
    """
    rows = read_utterances(manifest)
    known = sorted({axis for row in rows for axis in row.groups})
    lacking = [axis for axis in axes if axis not in known]
    if lacking or not axes:
        raise ValueError(
            f"{manifest}: has no group {lacking[0] if lacking else ''!r}; use {', '.join(known) or 'none'}"
        )
    places = [Trial(name=row.utterance_id, is_bona_fide=True, path=str(row.audio_path)) for row in rows]
    numbers = {trial.name: index for index, trial in enumerate(paired.trials)}
    joined = pair(places, [(trial.name, float(numbers[trial.name])) for trial in paired.trials])
    if not joined.trials:
        raise ValueError(f"{manifest}: holds none of the trials; check that names or paths agree")
    by_trial = {int(number): trial.name for trial, number in zip(joined.trials, joined.scores, strict=True)}
    by_row = {row.utterance_id: row for row in rows}
    found = []
    for axis in axes:
        labels = np.asarray(
            [by_row[by_trial[n]].groups.get(axis, "") if n in by_trial else "" for n in range(len(paired.trials))]
        )
        speakers = [by_row[by_trial[n]].speaker_id if n in by_trial else "" for n in range(len(paired.trials))]
        for name in sorted(set(labels)):
            members = np.flatnonzero(labels == name)
            row = {"axis": axis, "group": str(name), "trials": int(members.size)}
            found.append(
                row | _rates(paired, members, speakers, threshold, Resampler(seed=seed, replicates=max(replicates, 1)))
            )
    return found


def _rates(
    paired: Pairing, members: np.ndarray, speakers: Sequence[str], threshold: float, resampler: Resampler
) -> dict[str, Any]:
    rates: dict[str, Any] = {"speakers": len({speakers[index] for index in members})}
    for name, kind in (("p_miss", True), ("p_false_alarm", False)):
        chosen = [int(index) for index in members if paired.trials[index].is_bona_fide is kind]
        names = sorted({speakers[index] for index in chosen})
        wrong, total = np.zeros(len(names)), np.zeros(len(names))
        for index in chosen:
            place = names.index(speakers[index])
            total[place] += 1
            wrong[place] += (paired.scores[index] < threshold) is kind
        interval = resampler.ratio(names, wrong, total, (0.0, 1.0)) if names else None
        values = (interval.estimate, interval.low, interval.high) if interval else (math.nan,) * 3
        rates[name] = values[0] if math.isfinite(values[0]) else None
        rates[f"{name}_interval"] = [value if math.isfinite(value) else None for value in values[1:]]
    return rates
