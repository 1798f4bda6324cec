"""Which scorers a run uses: those asked for, or every one that is ready here; and the version of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import detectors
from evaluation.config import digest_of
from evaluation.detector_scorer import DetectorScorer
from evaluation.discovery import discover_metrics, pick
from evaluation.metrics import Metric

__all__ = ["ScorerState", "available_scorers", "select_scorers", "scorer_version"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScorerState:
    """A scorer with its state on this machine: ``ready``, ``degraded`` or ``missing``, and one sentence."""

    metric: Metric
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
    """Every metric and every detector by name; nothing heavy is loaded."""
    scorers: dict[str, Metric] = dict(discover_metrics())
    for entry in detectors.discover().values():
        bridge = DetectorScorer(entry, device)
        scorers[bridge.spec.name] = bridge
    return scorers


def select_scorers(
    names: Sequence[str], *, device: str = "cpu", table: Mapping[str, Metric] | None = None
) -> list[ScorerState]:
    """The named scorers, or all that do not wait to be asked for by name; with their state.

    A ``missing`` scorer that was not named is listed so that the run can say what it did not measure.

    Raises:
        ValueError: a name is unknown (the nearest is suggested), or a named scorer is missing.
    """
    table = available_scorers(device) if table is None else table
    chosen = [pick(table, name, "scorer") for name in dict.fromkeys(names)]
    if not names:
        chosen = [metric for metric in table.values() if not metric.spec.on_request]
    states = []
    for metric in sorted(chosen, key=lambda metric: metric.spec.name):
        status, sentence = metric.status()
        if status == "missing" and names:
            extra = f"; install it with pip install 'audiolm-audit[{metric.spec.extra}]'" if metric.spec.extra else ""
            raise ValueError(f"scorer {metric.spec.name!r} is not ready: {sentence}{extra}")
        states.append(ScorerState(metric=metric, status=status, sentence=sentence))
    return states


def scorer_version(metric: Metric) -> str:
    """The spec's version and a digest of everything that shapes the value."""
    return f"{metric.spec.version}+{digest_of(dict(metric.fingerprint()))[:12]}"
