"""The convolutional network of the log-mel detector."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from detectors.kinds import bona_fide_logit

__all__ = ["MelCnn", "MelCnnConfig", "widened"]


MAX_BLOCKS = 32
"""Each halves both lengths, so that further ones see a single cell; a hostile file may ask for any number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MelCnnConfig:
    """Six blocks as in AudioLM's detector (section IV.F), which has widths 64 to 512; these fit a CPU."""

    widths: tuple[int, ...] = (24, 48, 64, 96, 128, 160)
    dropout: float = 0.2
    outputs: int = 1
    """1: genuine against generated; more: one logit per kind of :mod:`detectors.kinds`."""

    def __post_init__(self) -> None:
        if not 1 <= len(self.widths) <= MAX_BLOCKS:
            raise ValueError(f"widths has {len(self.widths)} blocks; use 1 to {MAX_BLOCKS}")

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {**asdict(self), "widths": list(self.widths)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MelCnnConfig:
        """The inverse of :meth:`to_dict`."""
        return cls(
            widths=tuple(int(width) for width in values["widths"]),
            dropout=float(values["dropout"]),
            outputs=int(values.get("outputs", 1)),
        )


class MelCnn(nn.Module):
    """Log-mel ``[batch, band, frame]`` to one logit per window ``[batch]``; higher = more likely bona fide.

    Each block: 3 x 3 convolution with stride 2, batch norm, ReLU; with padding 1 a length never falls below
    one cell, so windows of any length pass. Mean and maximum over what is left feed one linear unit.
    """

    def __init__(self, config: MelCnnConfig) -> None:
        super().__init__()
        self.config = config
        blocks = []
        for before, width in zip((1, *config.widths[:-1]), config.widths, strict=True):
            blocks += [
                nn.Conv2d(before, width, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * config.widths[-1], config.outputs)

    def folded(self) -> MelCnn:
        """The same network for judging only: norms inside the convolutions. A fifth less time on one window."""
        twin, blocks = copy.deepcopy(self).eval(), []
        for layer in twin.blocks:
            if isinstance(layer, nn.BatchNorm2d):
                blocks[-1] = fuse_conv_bn_eval(blocks[-1], layer)
            else:
                blocks.append(layer)
        twin.blocks = nn.Sequential(*blocks)
        return twin

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits = self.logits(features)
        return logits.squeeze(1) if self.config.outputs == 1 else bona_fide_logit(logits)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """``[batch, outputs]``: one per kind where there are several."""
        maps = self.blocks(features.unsqueeze(1))  # [batch, width, band', frame']
        pooled = torch.cat([maps.mean(dim=(2, 3)), maps.amax(dim=(2, 3))], dim=1)
        return self.head(self.dropout(pooled))


def widened(narrow: Mapping[str, torch.Tensor], network: MelCnn) -> MelCnn:
    """``network`` with the weights of a narrower one inside, so that at first it says what that one said.

    New channels keep the weights that they were drawn with, and nothing listens to them yet: what they feed into old
    channels and the last layer is zero.
    """
    wide = network.state_dict()
    for name, old in narrow.items():
        new = wide[name]
        if name == "head.weight":
            before, after = old.shape[1] // 2, new.shape[1] // 2
            new.zero_()
            new[:, :before], new[:, after : after + before] = old[:, :before], old[:, before:]
        elif old.ndim == 4:
            new[: old.shape[0]] = 0.0
            new[: old.shape[0], : old.shape[1]] = old
        elif old.ndim == 1 and name != "head.bias":
            new[: old.shape[0]] = old
        else:
            new.copy_(old)
    network.load_state_dict(wide)
    return network
