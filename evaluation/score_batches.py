"""One scorer on one batch: outcomes turned into cells, and errors kept to the items they belong to."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence

from evaluation.metrics import Metric, MetricSpec, Noted, Outcome, ScoreInput, Skipped
from evaluation.records import GenerationRecord
from evaluation.score_inputs import ClipStore, score_input
from evaluation.score_store import NOTE, Cell

__all__ = ["LoadedScorer", "all_cells", "item_measures", "score_batch"]

logger = logging.getLogger(__name__)


class LoadedScorer:
    """A metric whose scoring function is loaded when the first batch comes."""

    def __init__(self, metric: Metric, device: str) -> None:
        self.metric, self._device = metric, device
        self._score = None

    def score(self, batch: Sequence[ScoreInput]) -> list[Outcome]:
        if self._score is None:
            self._score = self.metric.load(self._device)
        outcomes = self._score(batch)
        if len(outcomes) != len(batch):
            raise ValueError(f"gave {len(outcomes)} outcomes for {len(batch)} items")
        return outcomes


def score_batch(
    scorer: LoadedScorer,
    records: Sequence[GenerationRecord],
    references: Mapping[str, GenerationRecord],
    clips: ClipStore,
) -> list[list[Cell]]:
    """Cells per record; where the batch raises, each item alone, so that only the one at fault fails."""
    spec = scorer.metric.spec
    try:
        inputs = [score_input(spec, record, references.get(record.utterance_id), clips) for record in records]
        return [_cells(spec, outcome) for outcome in scorer.score(inputs)]
    except Exception as error:  # a plug-in may fail in any way; the run must outlive it
        logger.warning("%s failed on %d items: %s: %s", spec.name, len(records), type(error).__name__, error)
        if len(records) == 1:
            return [all_cells(spec, "failed", f"{type(error).__name__}: {error}")]
        return [score_batch(scorer, [record], references, clips)[0] for record in records]


def item_measures(spec: MetricSpec) -> list[str]:
    """Names of the measures a scorer gives per item: all but ratios, which are made from their parts."""
    return [measure.name for measure in spec.measures if measure.aggregate != "ratio_of_sums"]


def all_cells(spec: MetricSpec, status: str, reason: str) -> list[Cell]:
    """Every measure of an item without a value, for one reason."""
    return [Cell(name, math.nan, status, reason) for name in item_measures(spec)]


def _cells(spec: MetricSpec, outcome: Outcome) -> list[Cell]:
    if isinstance(outcome, Skipped):
        return all_cells(spec, "skipped", outcome.reason or "the scorer gave no reason")
    values = outcome.values if isinstance(outcome, Noted) else outcome
    texts = outcome.texts if isinstance(outcome, Noted) else {}
    cells = [Cell(name, math.nan, NOTE, text) for name, text in texts.items()]
    for name in item_measures(spec):
        value = values.get(name)
        if value is None:
            cells.append(Cell(name, math.nan, "failed", f"the scorer gave no {name}"))
        elif isinstance(value, Skipped):
            cells.append(Cell(name, math.nan, "skipped", value.reason or "the scorer gave no reason"))
        elif not math.isfinite(value):
            cells.append(Cell(name, math.nan, "failed", f"the scorer gave {value} for {name}"))
        else:
            cells.append(Cell(name, float(value)))
    return cells
