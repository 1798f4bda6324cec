"""From logits to a token: temperature, top-k, nucleus; one private random stream per row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

__all__ = [
    "DECODERS",
    "Decoder",
    "Pauses",
    "Recall",
    "SamplingOptions",
    "StageSampling",
    "Unmasking",
    "choose",
    "uniform_draws",
]

Decoder = Literal["autoregressive", "parallel", "delayed"]
DECODERS = ("autoregressive", "parallel", "delayed")
"""Who draws the acoustic codes: the paper's coarse and fine stage, masked parallel decoding, or a frame per step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSampling:
    """``temperature`` 0 takes the likeliest token; ``top_k`` and ``top_p`` None keep every legal token."""

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not self.temperature >= 0:
            raise ValueError(f"temperature is {self.temperature}; use 0 or more")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}; use at least 1, or None")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}; use above 0 and up to 1, or None")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unmasking:
    """Parallel decoder only. ``passes``: per level, the last one for all that follow; ``noise``: how much chance has a
    say in which codes are kept first, fading to none over a level's passes (Chang et al. 2022, MaskGIT)."""

    passes: tuple[int, ...] = (8, 4, 1)
    noise: float = 1.0

    def __post_init__(self) -> None:
        if not self.passes or min(self.passes) < 1:
            raise ValueError(f"passes are {self.passes}; give at least one level, each 1 or more")
        if not self.noise >= 0:
            raise ValueError(f"noise is {self.noise}; use 0 or more")

    def passes_at(self, level: int) -> int:
        return self.passes[min(level, len(self.passes) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Delayed decoder only: codes that the prompt had in like moments are drawn more often (Grave et al. 2017,
    arXiv 1612.04426, the continuous cache). ``share``: of the chances that are the prompt's; ``sharpness``: how much
    the likest moments outweigh the others (factor of the cosine between the network's states)."""

    share: float = 0.0
    sharpness: float = 30.0

    def __post_init__(self) -> None:
        if not 0 <= self.share < 1:
            raise ValueError(f"recall share is {self.share}; use 0 to below 1")
        if not self.sharpness >= 0:
            raise ValueError(f"recall sharpness is {self.sharpness}; use 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """Semantic stage: after ``longest`` tokens of ``tokens`` (those of pauses) in a row, another token is drawn.

    A small model that has heard nothing but silence for a while expects nothing else. ``longest`` None: no limit.
    """

    tokens: tuple[int, ...] = ()
    longest: int | None = None

    def __post_init__(self) -> None:
        if any(token < 0 for token in self.tokens) or len(set(self.tokens)) < len(self.tokens):
            raise ValueError(f"pause tokens are {self.tokens}; give different semantic tokens, each 0 or more")
        if self.longest is not None and (self.longest < 1 or not self.tokens):
            raise ValueError(
                f"the longest pause is {self.longest} of {len(self.tokens)} tokens; use at least 1 of each"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingOptions:
    """Per stage; defaults are the paper's temperatures 0.6, 0.8 and 0.6 (AudioLM, section IV-A).

    ``decoder``: who draws the acoustic codes. ``guidance`` (delayed decoder only): how far the logits go from those
    without semantic tokens and prompt towards, and with more than 1 beyond, those with them; 1 is plain sampling.
    """

    semantic: StageSampling = field(default_factory=lambda: StageSampling(temperature=0.6))
    coarse: StageSampling = field(default_factory=lambda: StageSampling(temperature=0.8))
    fine: StageSampling = field(default_factory=lambda: StageSampling(temperature=0.6))
    unmasking: Unmasking = field(default_factory=Unmasking)
    decoder: Decoder = "autoregressive"
    guidance: float = 1.0
    recall: Recall = field(default_factory=Recall)
    pauses: Pauses = field(default_factory=Pauses)

    def __post_init__(self) -> None:
        check_decoder(self.decoder)
        if not 0 <= self.guidance <= 10:
            raise ValueError(f"guidance is {self.guidance}; use 0 to 10")


def check_decoder(name: str) -> None:
    """Refuse a decoder that there is not.

    Raises:
        ValueError: with the names there are.
    """
    if name not in DECODERS:
        raise ValueError(f"decoder is {name!r}; use one of {', '.join(DECODERS)}")


BELOW_ONE = 1 - 2.0**-23
"""Largest draw: times any float32 total it is below that total, so what is found has a chance above 0."""


def choose(logits: Tensor, uniform: Tensor, options: StageSampling) -> Tensor:
    """Index ``[batch]`` drawn from ``logits`` ``[batch, token]`` by inversion at ``uniform`` ``[batch]``."""
    if options.temperature == 0:
        return logits.argmax(dim=-1)
    logits = logits / options.temperature
    if options.top_k is not None and options.top_k < logits.shape[-1]:
        least = logits.topk(options.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, float("-inf"))
    chances = logits.softmax(dim=-1)
    if options.top_p is not None and options.top_p < 1:
        ordered, order = chances.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(dim=-1) - ordered
        ordered = ordered.masked_fill(before >= options.top_p, 0.0)
        chances = torch.zeros_like(chances).scatter(-1, order, ordered)
    total = chances.cumsum(dim=-1)
    target = uniform.clamp(max=BELOW_ONE) * total[:, -1]
    return torch.searchsorted(total, target.to(total.dtype).unsqueeze(1), right=True).squeeze(1)


def uniform_draws(generators: list[torch.Generator], counts: list[int]) -> Tensor:
    """``[row, max(counts)]`` float64 in [0, 1): row ``i`` takes ``counts[i]`` draws of its own generator, then 0."""
    draws = torch.zeros((len(counts), max(counts)), dtype=torch.float64)
    for row, (generator, count) in enumerate(zip(generators, counts, strict=True)):
        draws[row, :count] = torch.rand(count, generator=generator, dtype=torch.float64)
    return draws
