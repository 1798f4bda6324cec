"""Residual vector quantisation: codebooks learnt by moving averages, level after level on what is left over.

SoundStream paper, section III-C, algorithm 1: k-means initialisation on the first vectors seen, exponential
moving averages, restart of codes that are no longer used, and quantiser dropout so that any number of
levels decodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.codec.config import CodecConfig

__all__ = ["BatchShare", "Quantized", "ResidualQuantizer"]

KMEANS_ITERATIONS = 8
BLOCK = 32
"""Codes per block in the search for the nearest."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """``latents`` ``[batch, latent, frame]`` with straight-through gradient; ``codes`` ``[batch, level, frame]``
    int64; ``commitment``: mean squared distance between the encoder's output and its quantised form."""

    latents: Tensor
    codes: Tensor
    commitment: Tensor


@dataclass(frozen=True, slots=True)
class BatchShare:
    """Which rows of a training step's batch of ``total`` the next forward sees, from row ``first`` on."""

    first: int
    total: int


class ResidualQuantizer(nn.Module):
    """``n_levels`` codebooks of ``codebook_size`` vectors. Buffers only: codebooks are not trained by
    gradient. The moving sums behind them are not part of a stored model; training keeps them (`training_buffers`)."""

    codebooks: Tensor
    counts: Tensor
    sums: Tensor
    initialised: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        self.share: BatchShare | None = None
        """Set where a step's batch comes in parts: draws are those of the whole batch, and :meth:`learn` is called
        once after the last part."""
        self._seen: list[tuple[int, Tensor, Tensor]] = []
        shape = (config.n_levels, config.codebook_size, config.latent_dim)
        self.register_buffer("codebooks", torch.zeros(shape))
        self.register_buffer("counts", torch.zeros(shape[:2]), persistent=False)
        self.register_buffer("sums", torch.zeros(shape), persistent=False)
        self.register_buffer("initialised", torch.zeros((), dtype=torch.bool))

    @property
    def training_buffers(self) -> dict[str, Tensor]:
        """What a resumed training needs beyond the weights."""
        return {"counts": self.counts, "sums": self.sums}

    @torch.no_grad()
    def initialise(self, vectors: Tensor, generator: torch.Generator) -> None:
        """k-means of every level on ``vectors`` ``[vector, latent]``, each level on the residual of those before."""
        size = self.config.codebook_size
        if len(vectors) < size:
            raise ValueError(f"{len(vectors)} vectors cannot start a codebook of {size}; give at least {size}")
        residual = vectors.clone()
        for level in range(self.config.n_levels):
            chosen = torch.randperm(len(residual), generator=generator)[:size]
            centroids = residual[chosen].clone()
            for _ in range(KMEANS_ITERATIONS):
                codes = _nearest(residual, centroids)
                counts = torch.bincount(codes, minlength=size).to(residual.dtype)
                sums = torch.zeros_like(centroids).index_add_(0, codes, residual)
                used = counts > 0
                centroids[used] = sums[used] / counts[used, None]
            codes = _nearest(residual, centroids)
            self.codebooks[level] = centroids
            self.counts[level] = torch.bincount(codes, minlength=size).clamp_min(1)
            self.sums[level] = centroids * self.counts[level][:, None]
            residual = residual - centroids[codes]
        self.initialised.fill_(True)

    def forward(self, latents: Tensor, *, generator: torch.Generator | None = None) -> Quantized:
        """Quantise ``[batch, latent, frame]``; in training mode also update the codebooks (see ``share``).

        ``generator`` draws the number of levels per example (dropout) and the vectors that replace dead codes.
        """
        batch, dim, frames = latents.shape
        flat = latents.float().transpose(1, 2).reshape(-1, dim)  # [batch * frame, latent]
        keep = self._levels_kept(batch, generator).to(latents.device).repeat_interleave(frames)
        total = torch.zeros_like(flat)
        residual = flat.detach()
        codes = []
        for level in range(self.config.n_levels):
            code = _nearest(residual, self.codebooks[level])
            chosen = self.codebooks[level][code]
            if self.training and generator is not None:
                self._seen.append((level, residual, code))
            total = total + chosen * (level < keep).unsqueeze(1)
            residual = residual - chosen
            codes.append(code.view(batch, frames))
        if self.training and generator is not None and self.share is None:
            self.learn(generator)
        commitment = F.mse_loss(flat, total.detach())
        straight = flat + (total - flat).detach()
        return Quantized(straight.view(batch, frames, dim).transpose(1, 2), torch.stack(codes, dim=1), commitment)

    @torch.no_grad()
    def encode(self, latents: Tensor, n_levels: int | None = None) -> Tensor:
        """Codes ``[batch, level, frame]`` of latents ``[batch, latent, frame]``."""
        batch, dim, frames = latents.shape
        residual = latents.transpose(1, 2).reshape(-1, dim)
        codes = []
        for level in range(n_levels or self.config.n_levels):
            code = _nearest(residual, self.codebooks[level])
            residual = residual - self.codebooks[level][code]
            codes.append(code.view(batch, frames))
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Latents ``[batch, latent, frame]`` of codes ``[batch, level, frame]`` of the first levels, any number.

        Raises:
            ValueError: too many levels, or a code outside the codebook.
        """
        if codes.ndim != 3 or not 1 <= codes.shape[1] <= self.config.n_levels:
            raise ValueError(
                f"codes have shape {tuple(codes.shape)}; give [batch, level, frame]"
                f" with 1 to {self.config.n_levels} levels"
            )
        size = self.config.codebook_size
        if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) >= size):
            raise ValueError(f"codes must lie in [0, {size}); found {int(codes.min())} to {int(codes.max())}")
        total = sum(F.embedding(codes[:, level], self.codebooks[level]) for level in range(codes.shape[1]))
        return torch.as_tensor(total).transpose(1, 2)

    def _levels_kept(self, batch: int, generator: torch.Generator | None) -> Tensor:
        n_levels = self.config.n_levels
        if not self.training or generator is None:
            return torch.full((batch,), n_levels)
        share = self.share or BatchShare(0, batch)
        drawn = torch.randint(1, n_levels + 1, (share.total,), generator=generator)
        dropped = torch.rand((share.total,), generator=generator) < self.config.quantizer_dropout
        return torch.where(dropped, drawn, n_levels)[share.first : share.first + batch]

    @torch.no_grad()
    def learn(
        self,
        generator: torch.Generator,
        *,
        total: Callable[[Tensor], Tensor] = lambda tensor: tensor,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Move the codebooks towards the vectors seen since the last call, and restart dead codes.

        ``total`` sums a tensor over the ``world`` processes that share the batch; ``generator`` stands alike on all
        of them, so all make the same codebooks: those of one process with the whole batch.
        """
        size, decay = self.config.codebook_size, self.config.ema_decay
        seen, self._seen = self._seen, []
        vectors = [torch.cat([v for at, v, _ in seen if at == level]) for level in range(self.config.n_levels)]
        found = []
        for level, mine in enumerate(vectors):
            codes = torch.cat([c for at, _, c in seen if at == level])
            hits = torch.bincount(codes, minlength=size).to(mine.dtype)
            found.append(torch.cat([hits[:, None], torch.zeros_like(self.sums[level]).index_add_(0, codes, mine)], 1))
        summed = total(torch.stack(found))  # [level, code, 1 + latent]
        self.counts.mul_(decay).add_(summed[..., 0], alpha=1 - decay)
        self.sums.mul_(decay).add_(summed[..., 1:], alpha=1 - decay)
        self.codebooks.copy_(self.sums / self.counts.clamp_min(1e-5)[..., None])
        count = len(vectors[0])
        share = count * world / size
        for level, mine in enumerate(vectors):
            dead = (self.counts[level] < self.config.dead_code_share * share).nonzero()[:, 0]
            if len(dead):
                drawn = torch.randint(count * world, (len(dead),), generator=generator).to(mine.device) - rank * count
                own = ((drawn >= 0) & (drawn < count))[:, None]
                chosen = total(torch.where(own, mine[drawn.clamp(0, count - 1)], 0.0))
                self.codebooks[level, dead] = chosen
                self.counts[level, dead] = share
                self.sums[level, dead] = chosen * share


def _nearest(vectors: Tensor, centroids: Tensor) -> Tensor:
    """Index of the nearest centroid by Euclidean distance, the first of equally near ones: ``[vector]`` int64.

    Nearest is largest in ``x . c - |c|^2 / 2``. The place of that maximum is sought in two steps, the block and the
    place in it: on a CPU a maximum is vectorised and costs a tenth of its place.
    """
    with torch.autocast(vectors.device.type, enabled=False):
        closeness = torch.addmm(centroids.square().sum(dim=1) * -0.5, vectors, centroids.T)
    if len(centroids) % BLOCK:
        return closeness.argmax(dim=1)
    blocks = closeness.unflatten(1, (-1, BLOCK))
    block = blocks.amax(dim=2).argmax(dim=1)
    row = torch.arange(len(block), device=block.device)
    return block * BLOCK + blocks[row, block].argmax(dim=1)
