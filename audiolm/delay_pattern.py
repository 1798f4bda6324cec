"""The delay pattern of MusicGen (Copet et al. 2023, arXiv 2306.05284): level ``l`` comes ``l`` steps later."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["HIDDEN", "delay"]

HIDDEN = -1
"""In place of a code or semantic token that is not there or may not be seen."""


def delay(codes: Tensor) -> Tensor:
    """Codes ``[batch, level, frame]`` in steps: ``[batch, level, frame + level - 1]``, level ``l`` moved by ``l``."""
    levels = codes.shape[1]
    shifted = [F.pad(codes[:, i], (i, levels - 1 - i), value=HIDDEN) for i in range(levels)]
    return torch.stack(shifted, dim=1)
