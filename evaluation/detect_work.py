"""Detection as work for an engine: a shard is a few files; each worker loads the detector once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import detectors
from evaluation.detect_verdicts import judge_file, no_opinion
from evaluation.discovery import pick
from evaluation.engines import Work
from evaluation.own_evidence.detectors import all_detectors
from evaluation.threads import one_thread
from evaluation.watermark import load_watermark_reader

__all__ = ["DetectWork"]

Files = tuple[str, ...]
Lines = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectWork(Work[Files, Lines]):
    """Lines of ``detect --json`` for files; ``item_limit_s``: how long one file may take, 0 for as long as it likes;
    ``watermark``: AudioSeal's weights, "" for none; ``weights``: the detector's folder, "" for the shipped one.
    """

    detector: str
    device: str
    operating_point: str
    item_limit_s: float = 0.0
    watermark: str = ""
    weights: str = ""

    def open(self) -> Callable[[Files], Lines]:
        detector = self._loaded(self.device)
        reader = load_watermark_reader(self.watermark) if self.watermark else None

        def judge(shard: Files) -> Lines:
            with one_thread(self.device):
                return [judge_file(detector, Path(name), self.operating_point, reader) for name in shard]

        return judge

    def items(self, shard: Files) -> Sequence[Files]:
        return [(name,) for name in shard]

    def join(self, shard: Files, results: Sequence[Lines]) -> Lines:
        return [line for part in results for line in part]

    def lost(self, shard: Files, reason: str) -> Lines:
        detector, said = self._loaded("cpu"), f"the detector's process {reason} on this file"
        return [no_opinion(name, detector, self.operating_point, said) for name in shard]

    def time_limit_s(self, shard: Files) -> float:
        return self.item_limit_s * len(shard)

    def _loaded(self, device: str) -> detectors.Detector:
        return pick(all_detectors(), self.detector, "detector").load(self.weights or None, device)
