"""Of the words that a recogniser gets right on the recording, the share that it still gets right on the clip.

A recogniser that errs on every other word of clean speech hides what a system loses; this measure asks it only about
words that it can hear. Words are told apart by their place in the transcript. A derived measure: it is made from
``transcripts.parquet`` when a run is summarised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from evaluation.asr.text_alignment import kept_words
from evaluation.records import CODEC_ROLES
from evaluation.table_queries import rows_where
from evaluation.transcripts import Transcript

__all__ = ["WORDS_KEPT", "words_kept_scores"]

WORDS_KEPT = "words_kept"
"""Name of the scorer whose rows these are."""
ROLES = (*CODEC_ROLES, "acoustic")
NO_RECORDING = "the recording has no transcript by the same recogniser to compare with"


def words_kept_scores(
    scores: pd.DataFrame, measures: Sequence[Mapping[str, Any]], transcripts: Sequence[Transcript]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Score rows of the counts ``kept`` and ``heard``, and the entries of these and of their ratio ``words_kept``.

    Rows follow those of the word errors: a clip that could not be transcribed keeps its status and reason.
    """
    entry = next((e for e in measures if e["scorer"] == "word_error" and e["measure"] == "hits"), None)
    rows = rows_where(scores, scorer="word_error", measure="hits", role=ROLES)
    if entry is None or not transcripts or not len(rows):
        return scores.iloc[:0], []
    by_item = {row.item_id: row for row in transcripts if row.scorer == "word_error"}
    recordings = {(row.system, row.utterance_id): row for row in by_item.values() if row.role == "reference"}
    kept, heard, status, reason = [], [], [], []
    for row in rows.to_dict("records"):
        counts = _counts(by_item.get(row["item_id"]), recordings.get((row["system"], row["utterance_id"])))
        lost = row["status"] == "ok" and counts is None
        kept.append(counts[0] if counts else np.nan)
        heard.append(counts[1] if counts else np.nan)
        status.append("skipped" if lost else row["status"])
        reason.append(NO_RECORDING if lost else row["reason"])
    frames = [
        rows.assign(scorer=WORDS_KEPT, measure=name, value=values, status=status, reason=reason)
        for name, values in (("kept", kept), ("heard", heard))
    ]
    return pd.concat(frames, ignore_index=True), _entries(entry)


def _counts(clip: Transcript | None, recording: Transcript | None) -> tuple[float, float] | None:
    if clip is None or recording is None or clip.recogniser != recording.recogniser:
        return None
    kept, heard = kept_words(recording.operations, clip.operations)
    return float(kept), float(heard)


def _entries(hits: Mapping[str, Any]) -> list[dict[str, Any]]:
    common = dict(hits) | {"scorer": WORDS_KEPT, "scorer_title": "Words kept", "direction": "higher"}
    count = common | {"aggregate": "none"}
    return [
        count | {"measure": "kept", "title": "Words kept", "meaning": "words right on the recording and on the clip"},
        count | {"measure": "heard", "title": "Words right on the recording", "meaning": "words that can be kept"},
        common
        | {
            "measure": WORDS_KEPT,
            "title": "Words kept of those right on the recording",
            "unit": "share",
            "meaning": "share of the words heard right on the recording that are heard right on the clip",
            "low": 0.0,
            "high": 1.0,
            "aggregate": "ratio_of_sums",
            "numerator": "kept",
            "denominator": "heard",
        },
    ]
