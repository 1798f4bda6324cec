"""Measures of a whole run: distances between sets of clips, likelihood pairs, nearest training recordings.

One file each, found by walking this folder for modules with a ``CORPUS_METRIC`` constant. A scorer of
``evaluation/metrics`` sees one item at a time; these see every item of the run, and the system that made them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from audiolm.audio import AudioClip
from evaluation.bootstrap import Interval, Resampler
from evaluation.metrics import MetricSpec, Skipped
from evaluation.protocols import Generator
from evaluation.records import GenerationRecord
from evaluation.run_folder import RunFolder

__all__ = ["CorpusMetric", "CorpusResult", "CorpusView", "SetValue", "totals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetValue:
    """One number of a set of clips: it has no items of its own, so its interval is made by the measure itself.

    ``role``: of the set that is judged; ``n_items`` and ``n_speakers``: what it rests on.
    """

    role: str
    measure: str
    interval: Interval
    n_items: int
    n_speakers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusResult:
    """``items``: values by item id and measure, summarised as any scorer's; ``sets``: numbers of whole sets.

    ``curve``: further rows that no summary holds, such as an extraction curve; JSON values.
    """

    items: Mapping[str, Mapping[str, float | Skipped]] = field(default_factory=dict)
    sets: Sequence[SetValue] = ()
    curve: Sequence[Mapping[str, Any]] = ()


@dataclass(slots=True, kw_only=True)
class CorpusView:
    """The run as a corpus measure sees it; ``system`` is None for files of an outside system."""

    run: RunFolder
    records: Sequence[GenerationRecord]
    device: str
    seed: int
    load_system: Any = None
    _system: list[Generator | None] = field(default_factory=list)

    @property
    def resampler(self) -> Resampler:
        return Resampler(seed=self.seed)

    @property
    def system(self) -> Generator | None:
        """The system that made the clips, loaded when first asked for."""
        if not self._system:
            self._system.append(self.load_system() if self.load_system is not None else None)
        return self._system[0]

    def of_role(self, role: str) -> list[GenerationRecord]:
        """Records of a role that have a clip, in order of item id."""
        return sorted((r for r in self.records if r.role == role and r.status == "ok"), key=lambda r: r.item_id)

    def clip(self, record: GenerationRecord, sample_rate_hz: int, *, after_prompt: bool = False) -> AudioClip:
        """A record's clip at a rate; ``after_prompt`` cuts the prompt off where the clip holds it."""
        clip = AudioClip.from_file(self.run.path / record.audio_path).at_rate(sample_rate_hz)
        holds = record.role in ("reference", "codec", "codec-8", "codec-4", "acoustic")
        return clip.cut(record.prompt_s) if after_prompt and holds and record.prompt_s else clip


class CorpusMetric(Protocol):
    """A plug-in: ``CORPUS_METRIC = ...`` in its file. ``spec`` as a scorer's; only ``roles`` decide which items it
    gives values for."""

    spec: MetricSpec

    def measure(self, view: CorpusView) -> CorpusResult:
        """The values. The same run and seed give the same values, in any order of records."""
        ...

    def status(self) -> tuple[str, str]: ...

    def fingerprint(self) -> Mapping[str, str]: ...


def totals(speakers: Sequence[str], names: Sequence[str], values: np.ndarray) -> np.ndarray:
    """Sum of ``values`` ``[item]`` per speaker, float64 ``[speaker]``; ``names``: each item's speaker."""
    place = {speaker: index for index, speaker in enumerate(speakers)}
    return np.bincount([place[name] for name in names], weights=values, minlength=len(speakers))
