"""What the harness asks of a system under test. An outside model needs no base class of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from audiolm.audio import AudioClip

__all__ = ["Generator", "GeneratorEntry", "HasLikelihood", "HasTokens", "RenderRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderRequest:
    """One clip to make.

    ``recording``: the whole recording (prompt and what follows); ``prompt_s``: how much of its start
    the system may see in role ``continuation``; ``seconds``: length to generate there; ``seed``: of this item;
    ``utterance_id``: which utterance it is, for systems that look their clip up.
    """

    recording: AudioClip
    prompt_s: float
    seconds: float
    seed: int
    utterance_id: str = ""


@runtime_checkable
class Generator(Protocol):
    """A system that makes audio.

    ``roles``: what it can make of ``codec`` (and ``codec-8``, ``codec-4``: at the first 8 or 4 levels), ``acoustic``,
    ``continuation``, ``unconditional`` (of a request only ``seconds`` and ``seed`` count there). ``render`` returns one
    clip per request, in order; a continuation comes **without** its prompt. Results must not depend on
    the batch a request travels in. ``describe`` goes into ``run.json``: checkpoint digest, parameters, options.
    """

    name: str
    sample_rate_hz: int
    roles: tuple[str, ...]

    def render(self, role: str, requests: Sequence[RenderRequest]) -> list[AudioClip]: ...

    def describe(self) -> Mapping[str, object]: ...


@runtime_checkable
class HasTokens(Protocol):
    """A generator that shows its tokens: ``codebook_size`` codes per level of its codec, ``n_semantic_tokens``."""

    @property
    def codebook_size(self) -> int: ...

    @property
    def n_semantic_tokens(self) -> int: ...

    def codec_codes(self, samples: np.ndarray) -> np.ndarray:
        """Codes of one recording at the generator's rate: int64 ``[level, frame]``, the levels that it uses."""
        ...


@runtime_checkable
class HasLikelihood(Protocol):
    """A generator that says how likely it holds a recording, token by token."""

    def token_nats(self, samples: np.ndarray) -> Mapping[str, np.ndarray]:
        """Minus log-probability of every token of one recording, by stage: float64 ``[level, frame]`` in nats.

        Frames of a stage are equally long and cover the recording from its start. The result depends on this
        recording alone.
        """
        ...

    def semantic_tokens(self, samples: np.ndarray) -> np.ndarray:
        """Semantic tokens of one recording at the generator's rate, int64 ``[frame]``."""
        ...


class GeneratorEntry(Protocol):
    """What a file in ``evaluation/generators`` calls ``GENERATOR``: a name and a loader."""

    name: str

    def load(self, checkpoint: str, device: str) -> Generator: ...
