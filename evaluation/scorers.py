"""Which scorers a run uses: those asked for, or every one that is ready here; and the version of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evaluation.config import digest_of
from evaluation.corpus_metrics import CorpusMetric
from evaluation.detector_scorer import DetectorScorer
from evaluation.discovery import discover_corpus_metrics, discover_metrics, pick
from evaluation.metrics import Metric
from evaluation.own_evidence.detectors import all_detectors

__all__ = [
    "ALL",
    "ScorerState",
    "available_scorers",
    "corpus_metrics_of",
    "metrics_of",
    "select_scorers",
    "scorer_version",
]

ALL = "all"
"""In place of names: every scorer that is ready here and is meant for speech, measures of the whole run included."""
MUSIC = "music"
"""Scorers of this kind of sound are left out of ``all``; they run by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerState:
    """A scorer with its state on this machine: ``ready``, ``degraded`` or ``missing``, and one sentence."""

    metric: Metric | CorpusMetric
    status: str
    sentence: str

    def as_dict(self) -> dict[str, object]:
        """For ``run.json``; a missing scorer has no fingerprint."""
        spec = self.metric.spec
        known = self.status != "missing"
        return {
            "name": spec.name,
            "title": spec.title,
            "version": scorer_version(self.metric) if known else spec.version,
            "fingerprint": dict(self.metric.fingerprint()) if known else {},
            "status": self.status,
            "sentence": self.sentence,
            "extra": spec.extra,
        }


def available_scorers(device: str = "cpu") -> dict[str, Metric]:
    """Every metric of single items and every detector by name; nothing heavy is loaded."""
    scorers: dict[str, Metric] = dict(discover_metrics())
    for entry in all_detectors().values():
        bridge = DetectorScorer(entry, device)
        scorers[bridge.spec.name] = bridge
    return scorers


def select_scorers(
    names: Sequence[str], *, device: str = "cpu", table: Mapping[str, Metric | CorpusMetric] | None = None
) -> list[ScorerState]:
    """The named scorers, or all that do not wait to be asked for by name; with their state. ``all`` names every one.

    A ``missing`` scorer that was not named is listed so that the run can say what it did not measure.

    Raises:
        ValueError: a name is unknown (the nearest is suggested), or a named scorer is missing.
    """
    table = {**available_scorers(device), **discover_corpus_metrics()} if table is None else table
    everything = ALL in names
    names = [name for name in dict.fromkeys(names) if name != ALL]
    chosen = [pick(table, name, "scorer") for name in names]
    if everything:
        named = set(names)
        chosen += [m for m in table.values() if m.spec.name not in named and not m.spec.name.startswith(MUSIC)]
    elif not names:
        chosen = [metric for metric in table.values() if not metric.spec.on_request]
    states = []
    for metric in sorted(chosen, key=lambda metric: metric.spec.name):
        status, sentence = metric.status()
        if status == "missing" and metric.spec.name in names:
            extra = f"; install it with pip install 'audiolm-audit[{metric.spec.extra}]'" if metric.spec.extra else ""
            raise ValueError(f"scorer {metric.spec.name!r} is not ready: {sentence}{extra}")
        states.append(ScorerState(metric=metric, status=status, sentence=sentence))
    return states


def metrics_of(states: Sequence[ScorerState]) -> list[Metric]:
    """The scorers of single items that are not missing."""
    usable = [state.metric for state in states if state.status != "missing"]
    return [metric for metric in usable if not _is_corpus(metric)]  # type: ignore[misc]


def corpus_metrics_of(states: Sequence[ScorerState]) -> list[CorpusMetric]:
    """The measures of the whole run that are not missing."""
    usable = [state.metric for state in states if state.status != "missing"]
    return [metric for metric in usable if _is_corpus(metric)]  # type: ignore[misc]


def _is_corpus(metric: Metric | CorpusMetric) -> bool:
    return hasattr(metric, "measure")


def scorer_version(metric: Metric | CorpusMetric) -> str:
    """The spec's version and a digest of everything that shapes the value."""
    return f"{metric.spec.version}+{digest_of(dict(metric.fingerprint()))[:12]}"
