"""Conformer stack (Gulati et al. 2020) whose output for a row does not depend on the rows it travels with.

Deviations, for that reason and for speed: layer norm instead of batch norm in the convolution module, and
rotary positions instead of the Transformer-XL bias, so that fused attention can be used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Conformer", "ConformerConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConformerConfig:
    """``ff_factor``: inner width of each of the two half-step feed-forwards, in units of ``dim``."""

    dim: int = 256
    heads: int = 4
    layers: int = 4
    ff_factor: int = 2
    kernel: int = 5
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if min(self.dim, self.heads, self.layers, self.ff_factor, self.kernel) < 1:
            raise ValueError("dim, heads, layers, ff_factor and kernel must be at least 1")
        if self.dim % self.heads or (self.dim // self.heads) % 2:
            raise ValueError(f"dim {self.dim} over {self.heads} heads must give an even head width")
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel is {self.kernel}; use an odd number of frames")


class FeedForward(nn.Module):
    """Pre-norm feed-forward with Swish."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        inner = config.dim * config.ff_factor
        self.norm = nn.LayerNorm(config.dim)
        self.up = nn.Linear(config.dim, inner)
        self.down = nn.Linear(inner, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.down(F.silu(self.up(self.norm(x)))))


class SelfAttention(nn.Module):
    """Bidirectional attention with rotary positions; padded frames are no keys."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.norm = nn.LayerNorm(config.dim)
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.out = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, valid: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        batch, frames, dim = x.shape
        qkv = self.qkv(self.norm(x)).view(batch, frames, 3, self.heads, dim // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [batch, head, frame, width]
        mask = None if bool(valid.all()) else valid[:, None, None, :]
        mixed = F.scaled_dot_product_attention(_rotate(q, rotation), _rotate(k, rotation), v, attn_mask=mask)
        return self.dropout(self.out(mixed.transpose(1, 2).reshape(batch, frames, dim)))


class Convolution(nn.Module):
    """Pointwise gate, depthwise convolution over time, norm, Swish, pointwise."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim)
        self.gate = nn.Linear(config.dim, 2 * config.dim)
        self.depthwise = nn.Conv1d(
            config.dim, config.dim, config.kernel, padding=config.kernel // 2, groups=config.dim, bias=False
        )
        self.middle_norm = nn.LayerNorm(config.dim)
        self.out = nn.Linear(config.dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        gated = F.glu(self.gate(self.norm(x)), dim=-1) * valid.unsqueeze(-1)
        mixed = self.depthwise(gated.transpose(1, 2)).transpose(1, 2)
        return self.dropout(self.out(F.silu(self.middle_norm(mixed))))


class Block(nn.Module):
    """Half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.first = FeedForward(config)
        self.attention = SelfAttention(config)
        self.convolution = Convolution(config)
        self.second = FeedForward(config)
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, x: Tensor, valid: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        x = x + 0.5 * self.first(x)
        x = x + self.attention(x, valid, rotation)
        x = x + self.convolution(x, valid)
        return self.norm(x + 0.5 * self.second(x))


class Conformer(nn.Module):
    """``layers`` blocks over ``[batch, frame, dim]``; can stop after any block."""

    def __init__(self, config: ConformerConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))

    def forward(self, x: Tensor, valid: Tensor, stop_after: int | None = None) -> Tensor:
        """``valid``: bool ``[batch, frame]``; ``stop_after``: number of blocks to run (all where None)."""
        rotation = rotary_table(x.shape[1], self.config.dim // self.config.heads, x.device)
        for block in self.blocks[:stop_after]:
            x = block(x, valid, rotation)
        return x


def rotary_table(frames: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and sine ``[frame, width / 2]`` of rotary positions (Su et al. 2021, base 10 000)."""
    speed = 10_000.0 ** (-torch.arange(0, width, 2, device=device, dtype=torch.float32) / width)
    angle = torch.arange(frames, device=device, dtype=torch.float32)[:, None] * speed
    return angle.cos(), angle.sin()


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = rotation
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)
