"""Values of the model table that are worked out over several roles of a run, each with its interval over speakers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from evaluation.bootstrap import Interval, Resampler
from evaluation.detector_scorer import DETECTOR_PREFIX
from evaluation.model_table import Finding
from evaluation.table_queries import numbers, rows_where

__all__ = ["codec_wer_rise", "continuation_voice_position", "detector_accuracy", "generated_speech_like"]

SHARE = (0.0, 1.0)
PAIR_KEY = ["utterance_id", "speaker_id"]


def codec_wer_rise(scores: Sequence[pd.DataFrame], resampler: Resampler) -> Finding | str:
    """Word errors of the codec role less those of the recording, per word, over all tables (splits) together.

    Only utterances that were transcribed in both roles; a difference of two ratios over the same words.
    """
    pairs = []
    for table in scores:
        counts = {
            (role, measure): _values(table, role, "word_error", measure)
            for role, measure in (("reference", "errors"), ("codec", "errors"), ("reference", "words"))
        }
        pairs.append(_joined(list(counts.values()), ["before", "after", "words"]))
    joined = pd.concat(pairs, ignore_index=True)
    if not len(joined):
        return "no utterance has word errors on the recording and on the codec"
    rise = numbers(joined, "after") - numbers(joined, "before")
    return _ratio(joined, rise, numbers(joined, "words"), resampler, "words per word")


def continuation_voice_position(scores: pd.DataFrame, resampler: Resampler) -> Finding | str:
    """Where the continuation's cosine to the prompt lies between shuffled (0) and the same recording's rest (1).

    Ratio of two sums of differences on the same prompts; 0.5 is the midpoint.
    """
    roles = ("reference", "continuation", "shuffled")
    joined = _joined([_values(scores, role, "speaker_similarity", "cosine") for role in roles], list(roles))
    if not len(joined):
        return "no prompt has a cosine for the recording, its continuation and another speaker's"
    gained = numbers(joined, "continuation") - numbers(joined, "shuffled")
    span = numbers(joined, "reference") - numbers(joined, "shuffled")
    if span.sum() <= 0:
        return "the recording's own rest is no nearer to the prompt than another speaker's continuation"
    return _ratio(joined, gained, span, resampler, "position")


def generated_speech_like(scores: pd.DataFrame, resampler: Resampler) -> Finding | str:
    """Share of speech-like clips among continuations and unconditional clips, all counted alike.

    Clips of one prompt's utterance share its cluster.
    """
    rows = rows_where(
        scores,
        scorer="speech_likeness",
        measure="speech_like",
        role=("continuation", "unconditional"),
        status="ok",
    )
    if not len(rows):
        return "no continuation and no unconditional clip was judged"
    return _ratio(rows, numbers(rows), np.ones(len(rows)), resampler, "share", SHARE)


def detector_accuracy(scores: pd.DataFrame, resampler: Resampler) -> Finding | str:
    """Mean of the shares of codec-passed recordings called bona fide and of continuations called synthetic.

    At each detector's shipped operating point, of the detector for which it is highest here; abstentions are left out
    and said.
    """
    names = sorted({name for name in scores["scorer"] if name.startswith(DETECTOR_PREFIX)})
    found = [finding for name in names if (finding := _balanced_accuracy(scores, name, resampler)) is not None]
    if not found:
        return "no detector judged both recordings through the codec and continuations"
    return max(found, key=lambda finding: finding.interval.estimate)


def _balanced_accuracy(scores: pd.DataFrame, scorer: str, resampler: Resampler) -> Finding | None:
    rows = rows_where(scores, scorer=scorer, measure="flagged", role=("codec", "continuation"))
    ok = rows_where(rows, status="ok")
    bona_fide, synthetic = rows_where(ok, role="codec"), rows_where(ok, role="continuation")
    if not len(bona_fide) or not len(synthetic):
        return None
    speakers = sorted(set(ok["speaker_id"]))
    right = [_totals(bona_fide, 1.0 - numbers(bona_fide), speakers), _totals(synthetic, numbers(synthetic), speakers)]
    total = [_totals(block, np.ones(len(block)), speakers) for block in (bona_fide, synthetic)]

    def of_weights(weights: np.ndarray) -> float:
        counts = [float(weights @ one) for one in total]
        if min(counts) <= 0:
            return float("nan")
        return 0.5 * sum(float(weights @ one) / count for one, count in zip(right, counts, strict=True))

    smaller = min(int(np.count_nonzero(one)) for one in total)
    return Finding(
        interval=resampler.statistic(speakers, smaller, of_weights, SHARE),
        unit="share",
        n_items=len(ok),
        n_speakers=len(speakers),
        note=f"{scorer.removeprefix(DETECTOR_PREFIX)}, {len(rows) - len(ok)} of {len(rows)} clips without an opinion",
    )


def _values(scores: pd.DataFrame, role: str, scorer: str, measure: str) -> pd.DataFrame:
    rows = rows_where(scores, role=role, scorer=scorer, measure=measure, status="ok")
    return rows.filter(items=[*PAIR_KEY, "value"])


def _joined(tables: Sequence[pd.DataFrame], names: Sequence[str]) -> pd.DataFrame:
    """The utterances that every table has, with one column of values for each."""
    joined = tables[0].rename(columns={"value": names[0]})
    for table, name in zip(tables[1:], names[1:], strict=True):
        joined = joined.merge(table.rename(columns={"value": name}), on=PAIR_KEY)
    return joined


def _totals(rows: pd.DataFrame, values: np.ndarray, speakers: Sequence[str]) -> np.ndarray:
    """Sum of values per speaker, float64 ``[speaker]``."""
    position = {speaker: index for index, speaker in enumerate(speakers)}
    index = np.array([position[speaker] for speaker in rows["speaker_id"]], dtype=np.int64)
    return np.bincount(index, weights=values, minlength=len(speakers))


def _ratio(
    rows: pd.DataFrame,
    numerators: np.ndarray,
    denominators: np.ndarray,
    resampler: Resampler,
    unit: str,
    bounds: tuple[float | None, float | None] = (None, None),
) -> Finding:
    speakers = sorted(set(rows["speaker_id"]))
    above, below = (_totals(rows, values, speakers) for values in (numerators, denominators))
    interval: Interval = resampler.ratio(speakers, above, below, bounds)
    return Finding(interval=interval, unit=unit, n_items=len(rows), n_speakers=len(speakers))
