"""Who speaks, of the run's own speakers? Share of clips that a trained classifier gives to the prompt's speaker.

AudioLM, Table III: 92.6 % of continuations against 3.2 % where only semantic tokens are shared. Two classifiers are
trained, each on the recordings of one half of the utterances (and on this manifest's other recordings of these
speakers), and judge the other half, so that no clip is judged by a classifier that has heard its recording.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np

from audiolm.audio import AudioClip
from evaluation.bootstrap import Interval
from evaluation.corpus_metrics import CorpusResult, CorpusView, SetValue
from evaluation.manifest import read_utterances
from evaluation.metrics import Measure, MetricSpec, Skipped
from evaluation.records import GenerationRecord
from evaluation.speaker.closed_set import ClosedSet, train_closed_set

__all__ = ["CORPUS_METRIC"]

RATE_HZ = 16_000
FOLDS = 2
MORE_PER_SPEAKER = 8
"""Recordings of a speaker taken from the manifest beside those of the run."""
SOURCE = "Borsos et al. 2023, Table III; ECAPA-TDNN of SpeechBrain trained on the run's speakers"

SPEC = MetricSpec(
    name="speaker_classification",
    title="Speaker classification, closed set",
    measures=(
        Measure(name="correct", title="Given to the prompt's speaker", unit="share", direction="higher",
                meaning="share of clips that a classifier of the run's speakers gives to the prompt's speaker",
                source=SOURCE, low=0.0, high=1.0),
        Measure(name="chance", title="By chance", unit="share", direction="none",
                meaning="one by the number of speakers", source="arithmetic", aggregate="set"),
    ),
    roles=("reference", "codec", "acoustic", "continuation"),
    version="1",
    on_request=True,
)  # fmt: skip


class SpeakerClassification:
    spec = SPEC

    def measure(self, view: CorpusView) -> CorpusResult:
        references = [r for r in view.of_role("reference") if r.speaker_id]
        order = {name: place for place, name in enumerate(sorted({r.utterance_id for r in references}))}
        fold_of = _folds(references)
        judges: list[ClosedSet | str] = [_judge(view, references, fold_of, fold) for fold in range(FOLDS)]
        items: dict[str, dict[str, float | Skipped]] = {}
        for role in SPEC.roles:
            for record in view.of_role(role):
                items[record.item_id] = {"correct": _correct(view, record, judges, fold_of)}
        known = [judge for judge in judges if isinstance(judge, ClosedSet)]
        if not known or not order:
            return CorpusResult(items=items)
        share = Interval(1.0 / len(known[0].speakers), math.nan, math.nan, "no interval: arithmetic")
        chance = SetValue(role="reference", measure="chance", interval=share, n_items=len(references),
                          n_speakers=len(known[0].speakers))  # fmt: skip
        return CorpusResult(items=items, sets=[chance])

    def status(self) -> tuple[str, str]:
        if find_spec("speechbrain") is None:
            return "missing", "SpeechBrain is not installed; pip install speechbrain"
        return "ready", "trains a small ECAPA-TDNN on the run's speakers"

    def fingerprint(self) -> Mapping[str, str]:
        return {"definition": f"{SPEC.name} {SPEC.version}"}


def _folds(references: list[GenerationRecord]) -> dict[str, int]:
    """Fold of each utterance: a speaker's utterances in turn."""
    seen: dict[str, int] = {}
    folds = {}
    for record in sorted(references, key=lambda record: record.utterance_id):
        folds[record.utterance_id] = seen.get(record.speaker_id, 0) % FOLDS
        seen[record.speaker_id] = seen.get(record.speaker_id, 0) + 1
    return folds


def _judge(
    view: CorpusView, references: list[GenerationRecord], fold_of: Mapping[str, int], fold: int
) -> ClosedSet | str:
    """A classifier for the utterances of ``fold``, or why there is none."""
    recordings: dict[str, list[np.ndarray]] = {record.speaker_id: [] for record in references}
    for record in references:
        if fold_of[record.utterance_id] != fold:
            recordings[record.speaker_id].append(view.clip(record, RATE_HZ).samples)
    for speaker, found in _more(view, set(recordings), {r.utterance_id for r in references}).items():
        recordings[speaker] += found
    usable = {speaker: found for speaker, found in recordings.items() if found}
    if len(usable) < 2:
        return "needs two speakers with another recording each"
    return train_closed_set(usable, view.seed)


def _more(view: CorpusView, speakers: set[str], taken: set[str]) -> dict[str, list[np.ndarray]]:
    """Other recordings of these speakers in the run's manifest."""
    prompts = view.run.read().get("config", {}).get("prompts", "")
    try:
        others = read_utterances(prompts) if prompts else []
    except ValueError:
        return {}
    found: dict[str, list[np.ndarray]] = {}
    for one in others:
        mine = one.speaker_id in speakers and one.utterance_id not in taken and not one.problem
        if mine and len(found.get(one.speaker_id, [])) < MORE_PER_SPEAKER:
            found.setdefault(one.speaker_id, []).append(AudioClip.from_file(one.audio_path).at_rate(RATE_HZ).samples)
    return found


def _correct(
    view: CorpusView, record: GenerationRecord, judges: list[ClosedSet | str], fold_of: Mapping[str, int]
) -> float | Skipped:
    fold = fold_of.get(record.utterance_id)
    if fold is None:
        return Skipped("the recording has no speaker or could not be used")
    judge = judges[fold]
    if isinstance(judge, str):
        return Skipped(judge)
    if record.speaker_id not in judge.speakers:
        return Skipped("the speaker has no other recording to train on")
    who = judge.who(view.clip(record, RATE_HZ, after_prompt=True).samples)
    return Skipped("the clip is shorter than 0.2 s") if who is None else float(who == record.speaker_id)


CORPUS_METRIC = SpeakerClassification()
