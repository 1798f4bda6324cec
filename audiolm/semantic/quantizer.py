"""The target quantiser of w2v-BERT: log-mel of one 40 ms frame to a code and its vector.

Deviation from Chung et al. 2021: the codebook looks at the spectrum itself, through a projection that
starts as a cepstrum, and not at the features that are being learnt (compare BEST-RQ, Chiu et al. 2022), and it
takes the nearest code instead of a Gumbel sample. Targets then stand still from the first step on,
which short training needs. Codebook and projection are still trained, by the contrastive and the diversity loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Quantized", "QuantizerConfig", "TargetQuantizer"]

N_CEPSTRA = 13
SOFTNESS = 0.15
"""Temperature of the soft assignment, in units of the code dimension."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizerConfig:
    """``codes``: size of the codebook; ``frames``: log-mel frames that make one 40 ms frame."""

    codes: int = 256
    frames: int = 4
    n_mels: int = 80
    target_dim: int = 128

    def __post_init__(self) -> None:
        if min(self.codes, self.frames, self.n_mels, self.target_dim) < 1:
            raise ValueError("codes, frames, n_mels and target_dim must be at least 1")


class Quantized(NamedTuple):
    """``codes``: int64 ``[batch, frame]``; ``targets``: ``[batch, frame, target_dim]``; ``usage``: soft
    assignments ``[batch, frame, code]``."""

    codes: Tensor
    targets: Tensor
    usage: Tensor


class TargetQuantizer(nn.Module):
    """Nearest code of the projected spectrum, with straight-through gradients by its soft assignment."""

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        self.dim = N_CEPSTRA * config.frames
        self.projection = nn.Linear(config.n_mels * config.frames, self.dim)
        self.norm = nn.LayerNorm(self.dim, elementwise_affine=False)
        self.codebook = nn.Parameter(torch.randn(config.codes, self.dim))
        self.targets = nn.Linear(self.dim, config.target_dim)
        with torch.no_grad():
            cepstrum = torch.block_diag(*[_cosines(N_CEPSTRA, config.n_mels)] * config.frames)
            self.projection.weight.copy_(cepstrum)
            self.projection.bias.zero_()

    def forward(self, log_mel: Tensor) -> Quantized:
        """``log_mel``: normalised, ``[batch, frame * frames, mel]``."""
        points = self.project(log_mel)
        distance = self._distances(points)
        usage = F.softmax(-distance / (SOFTNESS * self.dim), dim=-1)
        codes = distance.argmin(dim=-1)
        hard = F.one_hot(codes, self.config.codes).to(usage.dtype)
        chosen = (hard + usage - usage.detach()) @ self.codebook
        return Quantized(codes, self.targets(chosen), usage)

    def project(self, log_mel: Tensor) -> Tensor:
        batch, frames, mels = log_mel.shape
        stacked = log_mel.reshape(batch, frames // self.config.frames, self.config.frames * mels)
        return self.norm(self.projection(stacked))

    @torch.no_grad()
    def start_from(self, log_mel: Tensor, generator: torch.Generator, rounds: int = 12) -> None:
        """k-means on ``log_mel`` ``[batch, frame * frames, mel]``, so that all codes begin in use."""
        points = self.project(log_mel).flatten(0, 1)
        count = self.config.codes
        if len(points) < count:
            raise ValueError(f"{len(points)} frames cannot start {count} codes; give more audio")
        self.codebook.copy_(points[torch.randperm(len(points), generator=generator)[:count]])
        for _ in range(rounds):
            nearest = self._distances(points).argmin(dim=-1)
            sums = torch.zeros_like(self.codebook).index_add_(0, nearest, points)
            sizes = torch.bincount(nearest, minlength=count)
            spare = points[torch.randint(len(points), (count,), generator=generator)]
            means = sums / sizes.clamp(min=1).unsqueeze(1)
            self.codebook.copy_(torch.where((sizes > 0).unsqueeze(1), means, spare))

    def _distances(self, points: Tensor) -> Tensor:
        book = self.codebook
        return points.square().sum(-1, keepdim=True) - 2 * points @ book.T + book.square().sum(-1)


def _cosines(count: int, length: int) -> Tensor:
    """Orthonormal DCT-II rows ``[count, length]``, low to high; the first (overall level) is damped by half."""
    row = torch.arange(count).unsqueeze(1)
    column = torch.arange(length).unsqueeze(0)
    table = torch.cos(math.pi * row * (2 * column + 1) / (2 * length)) * math.sqrt(2 / length)
    table[0] *= 0.5 * math.sqrt(0.5)
    return table
