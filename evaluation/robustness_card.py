"""The parts of a robustness card: post-processing grid, short clips, universal filter, partial fakes, groups."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

import detectors
from audiolm.audio import AudioClip
from detectors.labelled import LabelledClip
from detectors.post_processing import POST_PROCESSING, convolved
from evaluation.bootstrap import Resampler
from evaluation.manifest import read_utterances
from evaluation.robustness_clips import in_turn
from evaluation.robustness_filter import FilterSearch, search_filter
from evaluation.robustness_partial import localisation, partial_clips
from evaluation.robustness_rates import Judged, judge_all, rates, share

__all__ = ["PARTS", "CardPlan", "false_alarms_by_group"]

RATE_HZ = 16_000
LENGTHS_S = (0.5, 1.0, 2.0, 3.0, 4.0)
FEWEST_IN_GROUP = 3
GROUP_AXES = ("gender", "accent")
Advance = Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardPlan:
    """What a card is made from. ``clips``: per class; ``fairness``: manifest of genuine speech with groups, or None."""

    detector: detectors.Detector
    labelled: Sequence[LabelledClip]
    clips: int = 40
    seed: int = 0
    search: FilterSearch = FilterSearch()
    fairness: Path | None = None
    fairness_split: str = "fairness"

    @property
    def resampler(self) -> Resampler:
        return Resampler(seed=self.seed)

    def of(self, is_bona_fide: bool, count: int | None = None) -> list[LabelledClip]:
        """Clips of one class, generators and speakers taking turns."""
        return in_turn([clip for clip in self.labelled if clip.is_bona_fide is is_bona_fide], count or self.clips)


def _rng(plan: CardPlan, *numbers: int) -> np.random.Generator:
    return np.random.default_rng([plan.seed, *numbers])


def generators(plan: CardPlan) -> list[dict[str, Any]]:
    """Plain clips: every generator against all bona fide ones."""
    bona = judge_all(plan.detector, plan.of(True))
    found = []
    names = sorted({clip.generator for clip in plan.labelled if not clip.is_bona_fide})
    for name in names:
        members = in_turn([clip for clip in plan.labelled if clip.generator == name], plan.clips)
        judged = [*bona, *judge_all(plan.detector, members)]
        found.append({"name": name, **rates(judged, plan.detector.threshold_llr, plan.resampler)})
    return found


def post_processing(plan: CardPlan) -> list[dict[str, Any]]:
    """Every change on both classes."""
    clips = [*plan.of(True), *plan.of(False)]
    found = []
    for number, (name, change) in enumerate(POST_PROCESSING.items()):
        places = {id(clip): index for index, clip in enumerate(clips)}

        def changed(
            clip: LabelledClip, number: int = number, change: Any = change, places: Mapping[int, int] = places
        ) -> np.ndarray:
            return change(clip.samples, _rng(plan, number, places[id(clip)]))

        judged = judge_all(plan.detector, clips, changed)
        found.append({"name": name, **rates(judged, plan.detector.threshold_llr, plan.resampler)})
    return found


def short_clips(plan: CardPlan) -> list[dict[str, Any]]:
    """The loudest stretch of 0.5 to 4 s of every clip. Under 2 s of speech the shipped detectors abstain."""
    clips = [*plan.of(True), *plan.of(False)]
    found = []
    for length_s in LENGTHS_S:
        judged = judge_all(plan.detector, clips, lambda clip, length_s=length_s: _loudest(clip.samples, length_s))
        row = {"name": f"{length_s:g} s", **rates(judged, plan.detector.threshold_llr, plan.resampler)}
        found.append(row | {"eer_without_abstention": _forced_eer(plan, clips, length_s)})
    return found


def _loudest(samples: np.ndarray, length_s: float) -> np.ndarray:
    size = int(length_s * RATE_HZ)
    if samples.size <= size:
        return samples
    power = np.concatenate([[0.0], np.cumsum(samples.astype(np.float64) ** 2)])
    starts = np.arange(0, samples.size - size, 160)
    first = int(starts[np.argmax(power[starts + size] - power[starts])])
    return samples[first : first + size]


def _forced_eer(plan: CardPlan, clips: Sequence[LabelledClip], length_s: float) -> float | None:
    """EER of the bare window score, for detectors that have one and lengths they take: what abstention spares users."""
    from detectors.error_rates import eer

    score = getattr(plan.detector, "score_window", None)
    if score is None or not 1.0 <= length_s <= 2.0:
        return None
    scores = [float(score(np.ascontiguousarray(_loudest(clip.samples, length_s)))) for clip in clips]
    bona = [value for value, clip in zip(scores, clips, strict=True) if clip.is_bona_fide]
    synth = [value for value, clip in zip(scores, clips, strict=True) if not clip.is_bona_fide]
    return round(eer(bona, synth), 6)


def filter_attack(plan: CardPlan) -> dict[str, Any]:
    """One filter against all synthetic clips, tuned on every second one, tried on the others and on genuine ones."""
    made, human = plan.of(False), plan.of(True)
    tuning, trying = made[::2], made[1::2]

    def mean_llr(filtered: Sequence[np.ndarray]) -> float:
        verdicts = [plan.detector.judge(samples, RATE_HZ).llr for samples in filtered]
        known = [llr for llr in verdicts if llr is not None]
        return float(np.mean(known)) if len(known) * 2 > len(filtered) else -np.inf

    response, history = search_filter([clip.samples for clip in tuning], mean_llr, plan.search)
    threshold, resampler = plan.detector.threshold_llr, plan.resampler
    after = judge_all(plan.detector, [*trying, *human], lambda clip: convolved(clip.samples, response))
    return {
        "before": rates(judge_all(plan.detector, [*trying, *human]), threshold, resampler),
        "after": rates(after, threshold, resampler),
        "mean_llr_by_round": history,
        "tuning_clips": len(tuning),
        "taps": int(response.size),
        "stoi_of_filtered": _stoi(trying, response),
        "access": "scores only (black box); an attacker with the weights does better",
    }


def _stoi(clips: Sequence[LabelledClip], response: np.ndarray) -> float:
    """Mean intelligibility of the filtered clips against themselves before: what the attack costs, 1 is nothing."""
    from pystoi import stoi

    values = [stoi(clip.samples, convolved(clip.samples, response), RATE_HZ) for clip in clips[:10]]
    return round(float(np.mean(values)), 4)


def partial_fakes(plan: CardPlan) -> dict[str, Any]:
    """Genuine speech with a synthetic end or middle."""
    partials = partial_clips(plan.labelled, plan.clips, plan.seed)
    return localisation(plan.detector, partials, plan.detector.threshold_llr, plan.resampler)


def false_alarms_by_group(plan: CardPlan) -> dict[str, Any]:
    """Genuine speech called synthetic at the shipped threshold, by group of speakers, with intervals."""
    if plan.fairness is None:
        return {}
    judged: list[tuple[Mapping[str, str], Judged]] = []
    for row in read_utterances(plan.fairness, split=plan.fairness_split):
        if row.problem:
            continue
        clip = AudioClip.from_file(row.audio_path)
        verdict = plan.detector.judge(clip.samples, clip.sample_rate_hz)
        judged.append((row.groups, Judged(True, row.speaker_id, "bona_fide", verdict.llr, verdict.reason)))
    rows = [{"axis": "all", "group": "all", **_group(plan, [one for _, one in judged])}]
    for axis in GROUP_AXES:
        for name in sorted({groups[axis] for groups, _ in judged if groups.get(axis)}):
            members = [one for groups, one in judged if groups.get(axis) == name]
            if len({one.speaker_id for one in members}) >= FEWEST_IN_GROUP:
                rows.append({"axis": axis, "group": name, **_group(plan, members)})
    return {"split": plan.fairness_split, "fewest_speakers": FEWEST_IN_GROUP, "rows": rows}


def _group(plan: CardPlan, members: Sequence[Judged]) -> dict[str, Any]:
    scored = [one for one in members if one.llr is not None]
    limit = plan.detector.threshold_llr
    return {
        "called_synthetic": share(scored, lambda one: one.llr is not None and one.llr < limit, plan.resampler),
        "abstained": share(members, lambda one: one.llr is None, plan.resampler),
    }


PARTS: Mapping[str, Callable[[CardPlan], Any]] = MappingProxyType(
    {
        "generators": generators,
        "post-processing": post_processing,
        "short": short_clips,
        "filter": filter_attack,
        "partial": partial_fakes,
        "groups": false_alarms_by_group,
    }
)
