"""Does the system say its training recordings again? Nearest training sound and longest shared run of tokens.

Read against recordings of speakers that the system cannot have heard: the share of clips nearer to training data than
99 % of those recordings is 1 % for a system that copies nothing. Training data: the manifest that ``AUDIOLM_TRAINING``
names (``path`` or ``path:split``), else split ``train`` of the run's own prompts; of it the first
``AUDIOLM_TRAINING_LIMIT`` utterances (200 by default), speakers taking turns.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np

from audiolm.audio import AudioClip
from evaluation.corpus_metrics import CorpusResult, CorpusView
from evaluation.manifest import read_utterances
from evaluation.memorisation.mel_index import MelIndex, build_mel_index
from evaluation.memorisation.token_runs import TokenIndex
from evaluation.metrics import Measure, MetricSpec, Skipped
from evaluation.protocols import HasLikelihood
from evaluation.records import Utterance

__all__ = ["CORPUS_METRIC", "beyond"]

RATE_HZ = 16_000
LIMIT = 200
QUANTILE = 0.01
MIN_HELD_OUT = 10
MEL_SOURCE = "two-second log-mel windows, brute force, evaluation/memorisation/mel_index.py"
RUN_SOURCE = "de-duplicated semantic tokens of the system, evaluation/memorisation/token_runs.py"

SPEC = MetricSpec(
    name="nearest_training",
    title="Nearness to training recordings",
    measures=(
        Measure(name="mel_distance_db", title="Distance to the nearest training sound", unit="dB", direction="none",
                meaning="root mean square log-mel difference to the most similar two seconds of training data",
                source=MEL_SOURCE, low=0.0),
        Measure(name="nearer_than_unheard", title="Nearer to training sound than unheard recordings", unit="share",
                direction="lower", source=MEL_SOURCE, low=0.0, high=1.0,
                meaning="share of clips nearer than 99 % of recordings of unheard speakers; 0.01 where nothing is"
                " copied"),
        Measure(name="shared_run", title="Longest run shared with training data", unit="tokens", direction="none",
                meaning="semantic tokens in a row (repeats collapsed) that one training utterance has as well",
                source=RUN_SOURCE, low=0.0),
        Measure(name="longer_run_than_unheard", title="Longer shared runs than unheard recordings", unit="share",
                direction="lower", source=RUN_SOURCE, low=0.0, high=1.0,
                meaning="share of clips with a longer run than 99 % of recordings of unheard speakers"),
    ),
    roles=("reference", "continuation", "unconditional", "recorded"),
    version="1",
    on_request=True,
)  # fmt: skip


def beyond(value: float, calibration: np.ndarray, *, nearer_is: str) -> float:
    """1 where ``value`` is beyond the first percent of ``calibration`` ``[recording]`` on the side of a copy."""
    if nearer_is == "less":
        return float(value < np.quantile(calibration, QUANTILE))
    return float(value > np.quantile(calibration, 1.0 - QUANTILE))


class NearestTraining:
    spec = SPEC

    def measure(self, view: CorpusView) -> CorpusResult:
        training = _training(view)
        if isinstance(training, str):
            return CorpusResult(items=_nothing(view, training))
        clips = [(one.utterance_id, AudioClip.from_file(one.audio_path).at_rate(RATE_HZ).samples) for one in training]
        mel = build_mel_index(clips)
        system = view.system
        tokens = None
        if isinstance(system, HasLikelihood):
            tokens = TokenIndex([system.semantic_tokens(samples) for _, samples in clips])
        values = {
            record.item_id: (record.role, *_of_clip(view.clip(record, RATE_HZ, after_prompt=True).samples, mel, tokens,
                                                    system))
            for role in SPEC.roles for record in view.of_role(role)
        }  # fmt: skip
        return CorpusResult(items=_calibrated(values))

    def status(self) -> tuple[str, str]:
        return "ready", f"training data: {_named() or 'split train of the prompts'}, {_limit()} utterances"

    def fingerprint(self) -> Mapping[str, str]:
        return {"training": _named() or "split train of the prompts", "limit": str(_limit())}


def _named() -> str:
    return os.environ.get("AUDIOLM_TRAINING", "")


def _limit() -> int:
    given = os.environ.get("AUDIOLM_TRAINING_LIMIT") or str(LIMIT)
    if not given.isdecimal() or int(given) < 1:
        raise ValueError(f"AUDIOLM_TRAINING_LIMIT is {given!r}; give a number of training utterances")
    return int(given)


def _training(view: CorpusView) -> list[Utterance] | str:
    """Usable training utterances, or why there are none."""
    config = view.run.read().get("config", {})
    place, _, split = (_named() or f"{config.get('prompts', '')}:train").rpartition(":")
    if not place:
        place, split = split, ""
    if _named() == "" and config.get("split") in (None, "train"):
        return "the run's prompts are not held apart from training data; name that data in AUDIOLM_TRAINING"
    try:
        found = read_utterances(place, split=split or None, limit=_limit())
    except ValueError as error:
        return f"no training data: {error}; name a manifest in AUDIOLM_TRAINING"
    usable = [one for one in found if not one.problem]
    return usable or "no training utterance can be used; name a manifest in AUDIOLM_TRAINING"


def _of_clip(samples: np.ndarray, mel: MelIndex, tokens: TokenIndex | None, system) -> tuple[float | None, int | None]:
    nearest = mel.nearest(samples)
    run = None if tokens is None or not len(samples) else tokens.longest_run(system.semantic_tokens(samples))
    return (None if nearest is None else nearest.distance_db), run


def _calibrated(
    values: Mapping[str, tuple[str, float | None, int | None]],
) -> dict[str, dict[str, float | Skipped]]:
    """Each clip's numbers, and whether they lie beyond those of the held-out recordings."""
    found: dict[str, dict[str, float | Skipped]] = {item: {} for item in values}
    for place, name, flag, side, why in (
        (1, "mel_distance_db", "nearer_than_unheard", "less", "holds less than two seconds of sound"),
        (2, "shared_run", "longer_run_than_unheard", "more", "the system shows no tokens"),
    ):
        held = {item: one[place] for item, one in values.items() if one[0] == "reference" and one[place] is not None}
        for item, one in values.items():
            value = one[place]
            if value is None:
                found[item] |= {name: Skipped(why), flag: Skipped(why)}
                continue
            others = np.array([number for other, number in held.items() if other != item], dtype=np.float64)
            enough = len(others) >= MIN_HELD_OUT
            found[item][name] = float(value)
            found[item][flag] = (
                beyond(float(value), others, nearer_is=side) if enough
                else Skipped(f"needs {MIN_HELD_OUT} recordings of unheard speakers to compare with")
            )  # fmt: skip
    return found


def _nothing(view: CorpusView, why: str) -> dict[str, dict[str, float | Skipped]]:
    names: Sequence[str] = [measure.name for measure in SPEC.measures]
    return {r.item_id: {name: Skipped(why) for name in names} for role in SPEC.roles for r in view.of_role(role)}


CORPUS_METRIC = NearestTraining()
