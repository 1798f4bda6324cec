"""Every detector is a scorer by itself: ``detector:<name>`` with its likelihood ratio and its verdict as measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import detectors
from evaluation.config import digest_of
from evaluation.metrics import Measure, MetricSpec, Outcome, ScoreInput, Skipped

__all__ = ["DETECTOR_PREFIX", "DetectorScorer"]

DETECTOR_PREFIX = "detector:"
JUDGED_ROLES = ("reference", "codec", "acoustic", "continuation", "unconditional", "recorded")
"""Not ``shuffled``: its clips are those of ``continuation``."""
LOAD_ERRORS = (ImportError, OSError, ValueError, RuntimeError)


def _measures(title: str) -> tuple[Measure, ...]:
    return (
        Measure(
            name="llr",
            title=f"Log-likelihood ratio, {title}",
            unit="nats",
            direction="none",
            meaning="ln of how much more likely the clip is as bona fide than as synthetic speech; 0 is undecided",
            source="Brummer and du Preez 2006, calibrated likelihood ratios",
        ),
        Measure(
            name="flagged",
            title=f"Called synthetic, {title}",
            unit="share",
            direction="none",
            meaning="share of clips below the detector's shipped operating point; abstentions are left out and counted",
            source="the detector's own description in run.json",
            low=0.0,
            high=1.0,
        ),
    )


class DetectorScorer:
    """A :class:`evaluation.metrics.Metric` around one detector; the detector is loaded when first needed."""

    def __init__(self, entry: detectors.DetectorEntry, device: str = "cpu") -> None:
        self.entry, self.device = entry, device
        self.spec = MetricSpec(
            name=DETECTOR_PREFIX + entry.name,
            title=f"Detector {entry.name}",
            measures=_measures(entry.name),
            roles=JUDGED_ROLES,
            version="1",
            on_request=entry.name != detectors.DEFAULT_DETECTOR,
        )

    @cached_property
    def detector(self) -> detectors.Detector:
        return self.entry.load(None, self.device)

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]:
        """The scoring function; an abstention is a skip with the detector's reason."""
        return lambda batch: [self._judge(item) for item in batch]

    def _judge(self, item: ScoreInput) -> Outcome:
        verdict = self.detector.judge(item.clip.samples, item.clip.sample_rate_hz)
        if verdict.llr is None:
            return Skipped(f"no opinion: {verdict.reason}")
        return {"llr": float(verdict.llr), "flagged": float(verdict.llr < self.detector.threshold_llr)}

    def status(self) -> tuple[str, str]:
        """``ready``, or ``missing`` with what kept it from loading."""
        try:
            threshold = self.detector.threshold_llr
        except LOAD_ERRORS as error:
            return "missing", f"cannot be loaded: {error}"
        return "ready", f"shipped weights, operating point {threshold:.2f} nats"

    def fingerprint(self) -> Mapping[str, str]:
        description = self.detector.describe()
        return {"detector": self.entry.name, "description_sha256": digest_of(description)}
