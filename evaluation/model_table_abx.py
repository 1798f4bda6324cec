"""ABX of a model's semantic tokens against k-means on MFCC of as many clusters, as two values of the model table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial

from audiolm.audio import AudioClip
from evaluation.bootstrap import Resampler
from evaluation.language.abx_cells import AbxDesign
from evaluation.language.alignment import align_utterances
from evaluation.language.comparison import AbxRow, compare_representations
from evaluation.language.items import items_of
from evaluation.language.representations import parse_representations
from evaluation.model_table import Finding
from evaluation.progress import Progress, silent
from evaluation.records import Utterance

__all__ = ["abx_rules"]

MODES = ("within", "across")


def abx_rules(
    utterances: Sequence[Utterance],
    training: Sequence[Utterance],
    checkpoint: str,
    n_tokens: int,
    resampler: Resampler,
    *,
    device: str = "cpu",
    progress: Progress = silent,
) -> Mapping[str, Callable[[], Finding | str]]:
    """The relative reductions of the ABX error within and across speakers, on the same triplets of triphones.

    ``training``: speech that the k-means of the baseline is fitted on, never that of ``utterances``. ``n_tokens``:
    size of the model's vocabulary, and number of the baseline's clusters. Both values come from one comparison, made
    when the first is asked for.
    """
    baseline = f"mfcc@25/{n_tokens}"

    @lru_cache(maxsize=1)
    def compared() -> dict[str, tuple[AbxRow, AbxRow]] | str:
        try:
            rows = _compare(utterances, training, (baseline, f"model:{checkpoint}"), resampler, device, progress)
        except ValueError as error:
            return str(error)
        return {mode: _pair([row for row in rows if row.mode == mode], baseline) for mode in MODES}

    def finding(mode: str) -> Finding | str:
        found = compared()
        if isinstance(found, str):
            return found
        base, own = found[mode]
        if own.reduction is None:
            return "the comparison gave no reduction"
        low, high = own.error.low, own.error.high
        note = (
            f"error {own.error.estimate:.3f} [{low:.3f}, {high:.3f}] against {base.error.estimate:.3f} of {baseline},"
            f" {own.distance} distance, {own.triplets} triplets, {own.items} items"
        )
        return Finding(interval=own.reduction, unit="share", n_items=own.items, n_speakers=own.speakers, note=note)

    return {f"abx_{mode}_reduction": partial(finding, mode) for mode in MODES}


def _compare(
    utterances: Sequence[Utterance],
    training: Sequence[Utterance],
    names: Sequence[str],
    resampler: Resampler,
    device: str,
    progress: Progress,
) -> list[AbxRow]:
    def speech() -> Iterator[AudioClip]:
        if not training:
            raise ValueError("the baseline's k-means needs speech to be fitted on: the data have no split train")
        return (AudioClip.from_file(one.audio_path) for one in training if not one.problem)

    aligned = align_utterances(utterances, progress=progress)
    items = items_of(aligned.phones, {one.utterance_id: one.speaker_id or "unknown" for one in utterances})
    if not items:
        raise ValueError("no ABX item could be made; give speech with its transcripts")
    return compare_representations(
        items,
        {one.utterance_id: partial(AudioClip.from_file, one.audio_path) for one in utterances},
        parse_representations(names, training=speech, seed=resampler.seed, device=device),
        [AbxDesign(mode=mode) for mode in MODES],
        resampler=resampler,
        baseline=names[0],
        progress=progress,
    )


def _pair(rows: Sequence[AbxRow], baseline: str) -> tuple[AbxRow, AbxRow]:
    """The baseline's row and the model's."""
    return (
        next(row for row in rows if row.representation == baseline),
        next(row for row in rows if row.representation != baseline),
    )
