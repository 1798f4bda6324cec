"""Does generated speech, as a whole, sound like recordings? Frechet and kernel distance, precision and coverage.

Features of a clip: mean and spread of 40 log-mel bands (sound and channel), and the voice's embedding. The set of
recordings is the prompts' own rest. Every distance stands beside its null: recordings against other recordings of the
same number of clips, which is not 0 with few clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluation.acoustics.log_mel import log_mel
from evaluation.bootstrap import Interval
from evaluation.corpus_metrics import CorpusResult, CorpusView, SetValue
from evaluation.distribution.frechet import extrapolate, frechet_distance
from evaluation.distribution.intervals import jackknife
from evaluation.distribution.kernel import kernel_distance, median_width
from evaluation.distribution.neighbours import coverage, precision
from evaluation.metrics import Measure, MetricSpec
from evaluation.records import GenerationRecord
from evaluation.speaker import find_encoder

__all__ = ["CORPUS_METRIC", "clip_features"]

RATE_HZ = 16_000
BANDS = 16
NEIGHBOURS = 5
MIN_CLIPS = 8
ROLES = ("codec", "acoustic", "continuation", "unconditional", "recorded")
MEL_SOURCE = "clip means and spreads of 16 log-mel bands, evaluation/distribution"


def _set(name: str, title: str, unit: str, direction: str, meaning: str, source: str) -> Measure:
    return Measure(name=name, title=title, unit=unit, direction=direction, meaning=meaning, source=source,
                   aggregate="set")  # fmt: skip


MEASURES = (
    _set("frechet_mel", "Frechet distance to recordings", "dB²", "lower",
         "between Gaussians of log-mel clip features of clips and recordings, at equal numbers of clips; read it"
         " against its null", f"Heusel et al. 2017, {MEL_SOURCE}"),
    _set("frechet_mel_null", "Frechet distance, recordings among themselves", "dB²", "none",
         "the same between two halves of the recordings, at that number of clips: what no difference looks like",
         f"Heusel et al. 2017, {MEL_SOURCE}"),
    _set("frechet_mel_infinite", "Frechet distance, extrapolated", "dB²", "lower",
         "intercept of the distance as a line in 1/n: what endless clips would give; may be below 0 by chance",
         f"Chong and Forsyth 2020, {MEL_SOURCE}"),
    _set("frechet_mel_fit", "Fit of the extrapolation", "r²", "none", "share of variance that the line in 1/n explains",
         "least squares"),
    _set("kernel_mel", "Kernel distance to recordings", "MMD²", "lower",
         "unbiased squared discrepancy of log-mel clip features, Gaussian kernel of median width; 0 for equal"
         " distributions; preferred below 1,000 clips", f"Gretton et al. 2012, {MEL_SOURCE}"),
    _set("kernel_voice", "Kernel distance of the voices", "MMD²", "lower",
         "the same on voice embeddings", "Gretton et al. 2012; Wan et al. 2018 (GE2E encoder)"),
    _set("precision", "Clips that could be recordings", "share", "higher",
         "share of clips within a recording's five nearest recordings (log-mel features)", "Naeem et al. 2020"),
    _set("coverage", "Recordings that clips reach", "share", "higher",
         "share of recordings with a clip within their five nearest recordings (log-mel features); low where the system"
         " makes few kinds of sound", "Naeem et al. 2020"),
    _set("voice_diversity", "Diversity of voices", "1 - cosine", "none",
         "mean distance between the voice embeddings of two clips of different prompts' speakers; read it against the"
         " recordings", "Wan et al. 2018 (GE2E encoder)"),
)  # fmt: skip

SET_NAMES = tuple(measure.name for measure in MEASURES)

SPEC = MetricSpec(
    name="distribution",
    title="Distance between generated speech and recordings as sets",
    measures=MEASURES,
    roles=("reference", *ROLES),
    version="1",
    on_request=True,
)


@dataclass(frozen=True, slots=True)
class _Set:
    """Features of one role's clips: ``mel`` ``[item, 32]``, ``voice`` ``[voiced item, 256]``, and whose they are."""

    mel: np.ndarray
    mel_speakers: tuple[str, ...]
    voice: np.ndarray
    voice_speakers: tuple[str, ...]


def clip_features(samples: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of 16 log-mel bands over a clip at 16 kHz: float64 ``[32]`` in dB."""
    mels = log_mel(samples, RATE_HZ, bands=BANDS, hop_s=0.016)
    return np.concatenate([mels.mean(axis=0), mels.std(axis=0)])


class Distribution:
    spec = SPEC

    def measure(self, view: CorpusView) -> CorpusResult:
        encoder = find_encoder().load(view.device)
        reference = _features(view, view.of_role("reference"), encoder)
        if len(reference.mel) < 2 * MIN_CLIPS:
            reason = f"needs {2 * MIN_CLIPS} recordings and this run has {len(reference.mel)}"
            present = [role for role in ROLES if view.of_role(role)]
            return CorpusResult(sets=[one for role in present for one in _none(role, SET_NAMES, reason)])
        found: list[SetValue] = _diversity("reference", reference)
        for role in ROLES:
            records = view.of_role(role)
            if len(records) >= MIN_CLIPS:
                judged = _features(view, records, encoder)
                found += _compare(role, reference, judged, view.seed) + _diversity(role, judged)
            elif records:
                found += _none(role, SET_NAMES, f"needs {MIN_CLIPS} clips and this role has {len(records)}")
        return CorpusResult(sets=found)

    def status(self) -> tuple[str, str]:
        return find_encoder().status()

    def fingerprint(self) -> Mapping[str, str]:
        return find_encoder().fingerprint()


def _features(view: CorpusView, records: Sequence[GenerationRecord], encoder) -> _Set:
    mel, voice, heard = [], [], []
    for record in records:
        clip = view.clip(record, RATE_HZ, after_prompt=True)
        mel.append(clip_features(clip.samples))
        vector = encoder.embed(clip)
        if vector is not None:
            voice.append(vector.astype(np.float64))
            heard.append(record.speaker_id)
    return _Set(np.array(mel), tuple(r.speaker_id for r in records), np.array(voice), tuple(heard))


def _compare(role: str, reference: _Set, judged: _Set, seed: int) -> list[SetValue]:
    generator = np.random.default_rng([seed, len(role), 7])
    half = min(len(reference.mel) // 2, len(judged.mel))
    null = _null(reference.mel, half, generator)
    at_size = _at_size(reference.mel, judged.mel, half, generator)
    line = extrapolate(reference.mel, judged.mel, generator)

    def value(measure: str, interval: Interval) -> SetValue:
        count = len(set(judged.mel_speakers))
        return SetValue(role=role, measure=measure, interval=interval, n_items=len(judged.mel), n_speakers=count)

    def without(of, low: float | None = None, estimate: float | None = None) -> Interval:
        whole = of(reference.mel, judged.mel)
        names = sorted({*reference.mel_speakers, *judged.mel_speakers})

        def less(name: str) -> float:
            return of(_less(reference.mel, reference.mel_speakers, name), _less(judged.mel, judged.mel_speakers, name))

        return jackknife(whole if estimate is None else estimate, names, less, low=low)

    width = median_width(reference.mel)
    found = [
        value("frechet_mel", without(frechet_distance, 0.0, at_size)),
        value("frechet_mel_null", null),
        value("frechet_mel_infinite", without(frechet_distance, None, line.infinite)),
        value("frechet_mel_fit", Interval(line.r2, np.nan, np.nan, "no interval: describes a fit")),
        value("kernel_mel", without(lambda a, b: kernel_distance(a, b, width))),
        value("precision", without(lambda a, b: float(precision(a, b, NEIGHBOURS).mean()))),
        value("coverage", without(lambda a, b: float(coverage(a, b, NEIGHBOURS).mean()))),
    ]
    if min(len(reference.voice), len(judged.voice)) >= MIN_CLIPS:
        spread = median_width(reference.voice)
        names = sorted({*reference.voice_speakers, *judged.voice_speakers})
        interval = jackknife(
            kernel_distance(reference.voice, judged.voice, spread), names,
            lambda name: kernel_distance(_less(reference.voice, reference.voice_speakers, name),
                                         _less(judged.voice, judged.voice_speakers, name), spread),
        )  # fmt: skip
        found.append(value("kernel_voice", interval))
    else:
        found += _none(role, ["kernel_voice"], f"fewer than {MIN_CLIPS} recordings or clips hold enough speech")
    return found


def _diversity(role: str, judged: _Set) -> list[SetValue]:
    names = np.array(judged.voice_speakers)
    if len(set(names.tolist())) < 3:
        return _none(role, ["voice_diversity"], "needs three speakers with enough speech")

    def mean_distance(vectors: np.ndarray, whose: np.ndarray) -> float:
        other = whose[:, None] != whose[None]
        return float((1.0 - vectors @ vectors.T)[other].mean())

    def without(name: str) -> float:
        return mean_distance(judged.voice[names != name], names[names != name])

    interval = jackknife(mean_distance(judged.voice, names), names.tolist(), without, low=0.0)
    return [SetValue(role=role, measure="voice_diversity", interval=interval, n_items=len(names),
                     n_speakers=len(set(names.tolist())))]  # fmt: skip


def _none(role: str, names: Sequence[str], reason: str) -> list[SetValue]:
    """Measures that this role has no value of, and why: rows that stay in every table."""
    nothing = Interval(np.nan, np.nan, np.nan, f"no value: {reason}")
    return [SetValue(role=role, measure=name, interval=nothing, n_items=0, n_speakers=0) for name in names]


def _less(items: np.ndarray, speakers: Sequence[str], name: str) -> np.ndarray:
    return items[np.array([speaker != name for speaker in speakers])]


def _at_size(reference: np.ndarray, judged: np.ndarray, size: int, generator: np.random.Generator) -> float:
    draws = [
        frechet_distance(
            reference[generator.choice(len(reference), size, replace=False)],
            judged[generator.choice(len(judged), size, replace=False)],
        )
        for _ in range(20)
    ]
    return float(np.mean(draws))


def _null(reference: np.ndarray, size: int, generator: np.random.Generator) -> Interval:
    """Distances of disjoint random halves: mean, and where 95 % of them lie."""
    draws = []
    for _ in range(100):
        order = generator.permutation(len(reference))
        draws.append(frechet_distance(reference[order[:size]], reference[order[size : 2 * size]]))
    low, high = np.quantile(draws, [0.025, 0.975])
    return Interval(float(np.mean(draws)), float(low), float(high), "middle 95 % of 100 random halves")


CORPUS_METRIC = Distribution()
