"""A graph-attention network after AASIST (Jung et al. 2022), with a front end that a CPU can afford.

AASIST listens to the waveform through 70 band-pass filters at full rate, which costs most of its 9.6 GMAC. Here a
spectrum with windows of 4 ms stands in for them. What follows is its idea: nodes for bands and nodes for moments,
attention within each, then among both together with a node that gathers from all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectors.kinds import KINDS, bona_fide_logit

__all__ = ["GraphAttentionNetwork"]

WIDTH, NODE = 40, 32


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: tuple[int, int]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(before, after, 3, stride, 1, bias=False),
            nn.BatchNorm2d(after),
            nn.SELU(),
            nn.Conv2d(after, after, 3, 1, 1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.short = nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return F.selu(self.body(maps) + self.short(maps))


class _Attention(nn.Module):
    """Each node looks at all: weights from the product of two nodes, as in AASIST; ``[batch, node, width]``."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.pair, self.weight = nn.Linear(before, after), nn.Linear(after, 1, bias=False)
        self.seen, self.own = nn.Linear(before, after), nn.Linear(before, after)
        self.norm = nn.LayerNorm(after)

    def forward(self, nodes: Tensor) -> Tensor:
        products = torch.tanh(self.pair(nodes.unsqueeze(1) * nodes.unsqueeze(2)))
        attention = torch.softmax(self.weight(products).squeeze(3), dim=2)
        return F.selu(self.norm(self.seen(attention @ nodes) + self.own(nodes)))


class _Keep(nn.Module):
    """The share of nodes with the highest score, scaled by it (Gao and Ji 2019)."""

    def __init__(self, width: int, share: float) -> None:
        super().__init__()
        self.score, self.share = nn.Linear(width, 1), share

    def forward(self, nodes: Tensor) -> Tensor:
        scores = torch.sigmoid(self.score(nodes)).squeeze(2)
        kept = scores.topk(max(1, int(self.share * nodes.shape[1])), dim=1).indices
        gathered = torch.gather(nodes, 1, kept.unsqueeze(2).expand(-1, -1, nodes.shape[2]))
        return gathered * torch.gather(scores, 1, kept).unsqueeze(2)


class GraphAttentionNetwork(nn.Module):
    """Wideband spectrum ``[batch, band, frame]`` to one logit ``[batch]``; higher = more likely bona fide."""

    def __init__(self, bands: int = 30, outputs: int = len(KINDS), dropout: float = 0.25) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(1, 16, (3, 17), (1, 8), (1, 8), bias=False),
            nn.BatchNorm2d(16),
            nn.SELU(),
            _Block(16, 24, (2, 2)),
            _Block(24, 32, (1, 2)),
            _Block(32, WIDTH, (1, 1)),
        )
        self.place = nn.Parameter(0.02 * torch.randn(1, (bands + 1) // 2, WIDTH))
        self.bands, self.moments = (nn.Sequential(_Attention(WIDTH, NODE), _Keep(NODE, share)) for share in (0.7, 0.7))
        self.kind = nn.Parameter(0.02 * torch.randn(2, NODE))
        self.gather = nn.Parameter(0.02 * torch.randn(1, 1, NODE))
        self.both = nn.Sequential(_Attention(NODE, NODE), _Attention(NODE, NODE))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(5 * NODE, outputs)

    def logits(self, features: Tensor) -> Tensor:
        """``[batch, kind]``."""
        maps = self.maps(features.unsqueeze(1))
        bands = self.bands(maps.abs().amax(3).transpose(1, 2) + self.place) + self.kind[0]
        moments = self.moments(maps.abs().amax(2).transpose(1, 2)) + self.kind[1]
        nodes = torch.cat([self.gather.expand(len(maps), -1, -1), bands, moments], dim=1)
        nodes = self.both(nodes)
        split = 1 + bands.shape[1]
        parts = [nodes[:, 0]]
        for group in (nodes[:, 1:split], nodes[:, split:]):
            parts += [group.mean(1), group.amax(1)]
        return self.head(self.dropout(torch.cat(parts, dim=1)))

    def forward(self, features: Tensor) -> Tensor:
        return bona_fide_logit(self.logits(features))
