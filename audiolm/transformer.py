"""Decoder-only transformer: the whole pass over a sequence. It knows vectors and positions, no tokens, no audio.

Two settings of one class: the paper's (T5 relative bias, layer norm, plain feed-forward) and the fast one
(rotary positions, RMS norm, gated feed-forward, optional norm on queries and keys), which can use fused causal
attention. :mod:`audiolm.incremental` takes the same weights one token at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiolm.biased_attention import biased_attention
from audiolm.kv_cache import Cache

__all__ = ["Transformer", "TransformerConfig", "rotation"]

T5_BUCKETS = 32
T5_MAX_DISTANCE = 128
"""Relative buckets of T5 (Raffel et al. 2020, section 2.1): exact up to half the buckets, logarithmic to 128."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """Defaults are AudioLM's: 12 layers, 16 heads, width 1024, feed-forward 4096, dropout 0.1 (section IV-A).

    Dropout acts on the input and on each residual branch, not on attention weights: fused attention on a CPU has none.
    """

    layers: int = 12
    heads: int = 16
    dim: int = 1024
    ff_dim: int = 4096
    dropout: float = 0.1
    positions: Literal["t5", "rope"] = "t5"
    norm: Literal["layer", "rms"] = "layer"
    feed_forward: Literal["plain", "gated"] = "plain"
    qk_norm: bool = False

    def __post_init__(self) -> None:
        if min(self.layers, self.heads, self.dim, self.ff_dim) < 1:
            raise ValueError("layers, heads, dim and ff_dim must be at least 1")
        if self.dim % self.heads or (self.dim // self.heads) % 2:
            raise ValueError(f"dim {self.dim} over {self.heads} heads must give an even head width")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout is {self.dropout}; use 0 to below 1")

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads


class Attention(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.dim, 3 * config.dim, bias=False)
        self.out = nn.Linear(config.dim, config.dim, bias=False)
        self.query_norm = nn.RMSNorm(config.head_dim) if config.qk_norm else nn.Identity()
        self.key_norm = nn.RMSNorm(config.head_dim) if config.qk_norm else nn.Identity()

    def forward(
        self,
        x: Tensor,
        turn: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        cache: Cache | None,
        layer: int,
    ) -> Tensor:
        """``mask``: added to the scores, or None for plain causal attention (one query sees every cached key)."""
        batch, tokens, dim = x.shape
        heads = self.qkv(x).view(batch, tokens, 3, self.config.heads, self.config.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = self.query_norm(heads[0]), self.key_norm(heads[1]), heads[2]
        if turn is not None:
            q, k = _rotate(q, turn), _rotate(k, turn)
        if cache is not None:
            k, v = cache.store(layer, k, v)
        if mask is not None:
            mixed = biased_attention(q, k, v, mask)
        else:
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=tokens > 1)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, dim))


class FeedForward(nn.Module):
    """ReLU (plain, as T5 1.0) or SiLU-gated (Shazeer 2020)."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.gated = config.feed_forward == "gated"
        self.up = nn.Linear(config.dim, config.ff_dim * (2 if self.gated else 1), bias=False)
        self.down = nn.Linear(config.ff_dim, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        if self.gated:
            value, gate = x.chunk(2, dim=-1)
            return self.down(value * F.silu(gate))
        return self.down(F.relu(x))


class Block(nn.Module):
    """Pre-norm attention and feed-forward."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = _norm(config)
        self.attention = Attention(config)
        self.ff_norm = _norm(config)
        self.ff = FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x: Tensor,
        turn: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        cache: Cache | None,
        layer: int,
    ) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), turn, mask, cache, layer))
        return x + self.dropout(self.ff(self.ff_norm(x)))


class Transformer(nn.Module):
    """Vectors ``[batch, token, dim]`` to vectors of the same shape, each seeing itself and what stands before it."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = _norm(config)
        self.dropout = nn.Dropout(config.dropout)
        self.bias = nn.Embedding(T5_BUCKETS, config.heads) if config.positions == "t5" else None
        self.apply(_start)
        for name, weight in self.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * config.layers))

    def forward(self, x: Tensor, positions: Tensor, cache: Cache | None = None) -> Tensor:
        """``positions``: ``[batch, token]``, what rotary attention turns by (the T5 bias counts tokens instead).

        With ``cache``, ``x`` continues the tokens it holds.
        """
        seen = cache.length if cache is not None else 0
        turn = rotation(positions, self.config.head_dim) if self.config.positions == "rope" else None
        mask = self.mask(seen, x.shape[1], cache.valid if cache is not None else None, x.device)
        x = self.dropout(x)
        for layer, block in enumerate(self.blocks):
            x = block(x, turn, mask, cache, layer)
        if cache is not None:
            cache.length += x.shape[1]
        return self.norm(x)

    def cache(self, batch: int, capacity: int, valid: Tensor | None = None) -> Cache:
        """Room for ``capacity`` tokens of ``batch`` rows; ``valid`` as in :class:`~audiolm.kv_cache.Cache`."""
        config = self.config
        device = next(self.parameters()).device
        return Cache(config.layers, config.heads, config.head_dim, batch, capacity, valid=valid, device=device)

    def distance_bias(self, tokens: int) -> Tensor | None:
        """T5 bias of the key 0, 1, ... ``tokens - 1`` tokens back, ``[head, distance]``; None with rotary positions."""
        if self.bias is None:
            return None
        return self.bias(_t5_bucket(torch.arange(tokens, device=self.bias.weight.device))).T

    def mask(self, seen: int, tokens: int, valid: Tensor | None, device: torch.device) -> Tensor | None:
        """Scores to add, ``[batch or 1, head or 1, query, key]``; None where fused causal attention says it all."""
        if self.bias is None and valid is None and (seen == 0 or tokens == 1):
            return None
        query = torch.arange(seen, seen + tokens, device=device).unsqueeze(1)
        key = torch.arange(seen + tokens, device=device)
        hidden = (key > query)[None, None]
        if valid is not None:
            own = (key == query)[None, None]
            hidden = hidden | ~(valid[:, None, None, : seen + tokens] | own)
        if self.bias is None:
            return torch.zeros(hidden.shape, device=device).masked_fill_(hidden, float("-inf"))
        bias = self.bias(_t5_bucket(query - key)).permute(2, 0, 1).contiguous().unsqueeze(0)
        return bias.masked_fill(hidden, float("-inf"))


def _t5_bucket(distance: Tensor) -> Tensor:
    exact = T5_BUCKETS // 2
    distance = distance.clamp(min=0)
    scale = (T5_BUCKETS - exact) / math.log(T5_MAX_DISTANCE / exact)
    far = exact + (torch.log(distance.clamp(min=1).float() / exact) * scale).long()
    return torch.where(distance < exact, distance, far.clamp(max=T5_BUCKETS - 1))


def rotation(positions: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine ``[batch, 1, token, width / 2]`` (Su et al. 2021, base 10 000)."""
    speed = 10_000.0 ** (-torch.arange(0, width, 2, device=positions.device, dtype=torch.float32) / width)
    angle = positions[:, None, :, None].float() * speed
    return angle.cos(), angle.sin()


def _rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = turn
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)


def _norm(config: TransformerConfig) -> nn.Module:
    return nn.RMSNorm(config.dim, eps=1e-6) if config.norm == "rms" else nn.LayerNorm(config.dim)


def _start(module: nn.Module) -> None:
    if isinstance(module, (nn.Linear, nn.Embedding)):
        nn.init.normal_(module.weight, std=0.02)
