"""Scorers: one file each, found by walking this folder for modules with a ``METRIC`` constant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from audiolm.audio import AudioClip

__all__ = ["Measure", "Metric", "MetricSpec", "Noted", "Outcome", "ScoreInput", "Skipped", "prompt_difference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One named number, stated once: it makes the table, the axis label and the method card.

    ``direction``: ``higher``, ``lower`` (is better) or ``none``. ``aggregate``: ``mean``, ``ratio_of_sums`` (then
    ``numerator`` and ``denominator`` name item measures and the measure itself has no rows), ``none``
    (kept per item, not summarised: the parts of a ratio), or ``set`` (a number of a whole set of clips, without items).
    """

    name: str
    title: str
    unit: str
    direction: str
    meaning: str
    source: str
    low: float | None = None
    high: float | None = None
    aggregate: str = "mean"
    numerator: str = ""
    denominator: str = ""


def prompt_difference(name: str, title: str, unit: str, what: str, source: str) -> Measure:
    """The absolute difference of ``what`` between prompt and clip: lower is better, 0 is none."""
    meaning = f"absolute difference of {what} between prompt and clip"
    return Measure(name=name, title=title, unit=unit, direction="lower", meaning=meaning, source=source, low=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """What a scorer is and what it needs; dispatch, skip reasons, labels and method cards come from it.

    ``needs``: subset of ``transcript``, ``prompt`` (the prompt part of the same utterance's recording) and
    ``recording`` (that recording itself, for roles that keep its timing).
    ``roles``: the roles it is defined for. ``sample_rate_hz``: the rate it gets its clips at.
    ``min_duration_s`` applies to the scored clip. ``extra``: the install extra that brings its libraries.
    ``version`` changes whenever the same audio may give another value. ``on_request``: for a kind of sound that few
    runs hold, such as music; it runs where it is asked for by name.
    """

    name: str
    title: str
    measures: tuple[Measure, ...]
    roles: tuple[str, ...]
    needs: frozenset[str] = frozenset()
    sample_rate_hz: int = 16_000
    min_duration_s: float = 0.1
    min_duration_source: str = ""
    batch_size: int = 16
    extra: str = ""
    version: str = "1"
    on_request: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreInput:
    """One item, ready to be scored: clips at the scorer's rate.

    ``clip`` is what is judged, the prompt cut off for roles that hold it when ``prompt`` is needed;
    ``prompt`` is the recording's first ``prompt_s`` seconds, or None. ``recording`` starts where ``clip`` starts, or is
    None; its length may differ by what the system added or lost at the end.
    """

    item_id: str
    role: str
    clip: AudioClip
    prompt: AudioClip | None = None
    recording: AudioClip | None = None
    transcript: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A stated precondition failed: the row says ``skipped`` with this reason and counts against the total."""

    reason: str


@dataclass(frozen=True, slots=True)
class Noted:
    """Values with texts that belong beside them (by name), such as the words that were heard."""

    values: Mapping[str, float | Skipped]
    texts: Mapping[str, str]


Outcome = Mapping[str, float | Skipped] | Noted | Skipped
"""What a scorer gives per item: every item measure of its spec by name, each a number or the reason why that one has
none; or the reason for none at all."""


class Metric(Protocol):
    """A plug-in: ``METRIC = ...`` in its file. ``load`` imports what is heavy and returns the scoring function,
    which takes a batch and gives one outcome per input, in order, independent of batch size and order."""

    spec: MetricSpec

    def load(self, device: str) -> Callable[[Sequence[ScoreInput]], list[Outcome]]: ...

    def status(self) -> tuple[str, str]:
        """``ready``, ``degraded`` or ``missing``, and one sentence (the extra that brings it), for ``doctor``."""
        ...

    def fingerprint(self) -> Mapping[str, str]:
        """Names, versions and digests of everything that shapes the value; part of the results' key."""
        ...
