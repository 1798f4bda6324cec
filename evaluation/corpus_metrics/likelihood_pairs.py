"""Does the model notice a change of speaker, gender, noise, room or sentiment? Share of pairs it ranks right.

SALMon's question (Maimon et al. 2024) asked of the user's own recordings, stage by stage: what a voice or a room sounds
like should show in the coarse stage and not in the semantic one. Two scorings: nats of the whole clip, and only those
of the second after the change, since a whole sequence hides acoustics (arXiv 2601.06329). Ties count half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.bootstrap import Interval
from evaluation.corpus_metrics import CorpusResult, CorpusView, SetValue
from evaluation.likelihood.chance import chance_band, prefer
from evaluation.likelihood.pairs import CHANGE_S, KINDS, RATE_HZ, Pair, Voice, make_pair
from evaluation.metrics import Measure, MetricSpec, Skipped
from evaluation.protocols import HasLikelihood
from evaluation.records import GenerationRecord

__all__ = ["CORPUS_METRIC", "ScoredPair", "score_pair"]

STAGES = ("semantic", "coarse", "fine", "sum")
SCORINGS = {"": "of the whole clip", "_local": "of the second after the change"}
LOCAL_S = 1.0
MAX_PAIRS = 100
"""Recordings that start a pair of each kind, speakers taking turns."""
SOURCE = "pairs as in SALMon (Maimon et al. 2024), from this run's recordings, evaluation/likelihood/pairs.py"
TITLES = {
    "speaker": "Keeps the speaker", "gender": "Keeps the gender", "background": "Keeps the background",
    "room": "Keeps the room", "sentiment": "Keeps the sentiment", "control": "Control: same speaker either way",
}  # fmt: skip


def _measures() -> tuple[Measure, ...]:
    found = [
        Measure(
            name=f"{kind}_{stage}{scoring}", title=f"{TITLES[kind]}: {stage} stage{', local' if scoring else ''}",
            unit="share", direction="none" if kind == "control" else "higher",
            meaning=f"share of pairs whose consistent clip has fewer nats ({words}); a coin gives 0.5",
            source=SOURCE, low=0.0, high=1.0,
        )
        for kind in KINDS for stage in STAGES for scoring, words in SCORINGS.items()
    ]  # fmt: skip
    found += [
        Measure(
            name=f"{kind}_chance_{end}", title=f"Band of chance, {end}: {kind}", unit="share", direction="none",
            meaning=f"{'lowest' if end == 'low' else 'highest'} share that a coin reaches in 95 % of cases with this"
            " many pairs; beyond it the model differs from a coin", source="exact binomial", low=0.0, high=1.0,
            aggregate="set",
        )
        for kind in KINDS for end in ("low", "high")
    ]  # fmt: skip
    return tuple(found)


SPEC = MetricSpec(
    name="likelihood_pairs",
    title="Likelihood of consistent clips over changed ones",
    measures=_measures(),
    roles=("reference",),
    version="1",
    on_request=True,
)
ScoredPair = Mapping[str, float]
"""1, 0.5 or 0 by ``<stage><scoring>``."""


def score_pair(system: HasLikelihood, pair: Pair) -> ScoredPair:
    """What the system prefers, by stage and scoring."""
    nats = [system.token_nats(samples) for samples in (pair.consistent, pair.changed)]
    found: dict[str, float] = {}
    for scoring in SCORINGS:
        sums = [{stage: _nats(values, scoring) for stage, values in one.items()} for one in nats]
        for stage in sums[0]:
            found[f"{stage}{scoring}"] = prefer(sums[0][stage], sums[1][stage])
        found[f"sum{scoring}"] = prefer(sum(sums[0].values()), sum(sums[1].values()))
    return found


def _nats(values: np.ndarray, scoring: str) -> float:
    frames = values.shape[1]
    if not scoring:
        return float(values.sum())
    start, end = (round(frames * place / (2 * CHANGE_S)) for place in (CHANGE_S, CHANGE_S + LOCAL_S))
    return float(values[:, start:end].sum())


class LikelihoodPairs:
    spec = SPEC

    def measure(self, view: CorpusView) -> CorpusResult:
        records = view.of_role("reference")
        voices = [_voice(view, record) for record in records]
        chosen = {record.item_id for record in _in_turn(records)[:MAX_PAIRS]}
        items: dict[str, dict[str, float | Skipped]] = {record.item_id: {} for record in records}
        counts: dict[str, int] = dict.fromkeys(KINDS, 0)
        speakers: dict[str, set[str]] = {kind: set() for kind in KINDS}
        for record, voice in zip(records, voices, strict=True):
            for kind in KINDS:
                scored = _scored(view.system, record.item_id in chosen, kind, voice, voices, view.seed)
                if isinstance(scored, Skipped):
                    items[record.item_id] |= {f"{kind}_{s}{c}": scored for s in STAGES for c in SCORINGS}
                    continue
                absent = Skipped("the system has no such stage")
                items[record.item_id] |= {
                    f"{kind}_{s}{c}": scored.get(f"{s}{c}", absent) for s in STAGES for c in SCORINGS
                }
                counts[kind] += 1
                speakers[kind].add(record.speaker_id)
        return CorpusResult(items=items, sets=_bands(counts, speakers))

    def status(self) -> tuple[str, str]:
        return "ready", "asks the system itself"

    def fingerprint(self) -> Mapping[str, str]:
        return {"definition": f"{SPEC.name} {SPEC.version}"}


def _scored(
    system: object, chosen: bool, kind: str, voice: Voice, voices: Sequence[Voice], seed: int
) -> ScoredPair | Skipped:
    if not isinstance(system, HasLikelihood):
        return Skipped("the system gives no likelihood")
    if not chosen:
        return Skipped(f"the run's first {MAX_PAIRS} recordings start the pairs")
    pair = make_pair(kind, voice, voices, seed)
    return Skipped(pair) if isinstance(pair, str) else score_pair(system, pair)


def _voice(view: CorpusView, record: GenerationRecord) -> Voice:
    return Voice(
        name=record.utterance_id, speaker=record.speaker_id, groups=record.groups, duration_s=record.duration_s,
        read=lambda: view.clip(record, RATE_HZ).samples,
    )  # fmt: skip


def _in_turn(records: Sequence[GenerationRecord]) -> list[GenerationRecord]:
    """First recordings of all speakers, then second ones, and so on."""
    seen: dict[str, int] = {}
    placed = []
    for record in records:
        seen[record.speaker_id] = seen.get(record.speaker_id, 0) + 1
        placed.append((seen[record.speaker_id], record.item_id, record))
    return [record for *_, record in sorted(placed, key=lambda one: one[:2])]


def _bands(counts: Mapping[str, int], speakers: Mapping[str, set[str]]) -> list[SetValue]:
    found = []
    for kind, count in counts.items():
        if not count:
            continue
        for end, share in zip(("low", "high"), chance_band(count), strict=True):
            interval = Interval(share, np.nan, np.nan, f"no interval: exact binomial of {count} pairs")
            found.append(SetValue(role="reference", measure=f"{kind}_chance_{end}", interval=interval, n_items=count,
                                  n_speakers=len(speakers[kind])))  # fmt: skip
    return found


CORPUS_METRIC = LikelihoodPairs()
