"""Which codes of one level sound alike: a soft target that teaches a language model from few hours of speech.

Two recordings of one sound get different codes of a residual quantiser, whose neighbours would have done as well. A
stage that is told only which code was right has to see each of a thousand codes many times; one that is also told
which codes lie beside it learns from each of them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["alike_codes"]

BISECTIONS = 40
WIDEST = 40.0
"""Natural logarithm of the largest and smallest precision that is tried."""


@torch.no_grad()
def alike_codes(codebooks: Tensor, perplexity: float) -> Tensor:
    """How likely each code stands for another, ``[level, code, code]``: rows sum to 1, the diagonal is 0.

    The chance falls with the squared distance of the ``codebooks`` ``[level, code, latent]``; its width is set for
    every code so that the row's perplexity is ``perplexity`` (van der Maaten and Hinton 2008, section 2).

    Raises:
        ValueError: the perplexity is not between 1 and the number of other codes.
    """
    size = codebooks.shape[1]
    if not 1 < perplexity < size - 1:
        raise ValueError(f"perplexity is {perplexity}; codes have {size - 1} others, so use above 1 and below that")
    return torch.stack([_alike(level.double(), math.log(perplexity)) for level in codebooks]).to(codebooks.dtype)


def _alike(vectors: Tensor, entropy: float) -> Tensor:
    distance = torch.cdist(vectors, vectors).square()
    distance = distance / distance.mean().clamp(min=1e-30)
    distance.fill_diagonal_(math.inf)
    low, high = (torch.full((len(vectors), 1), sign * WIDEST, dtype=vectors.dtype) for sign in (-1, 1))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        too_wide = _entropy(_chances(distance, middle)) > entropy
        low, high = torch.where(too_wide, middle, low), torch.where(too_wide, high, middle)
    return _chances(distance, low)


def _chances(distance: Tensor, log_precision: Tensor) -> Tensor:
    nearest = distance.amin(dim=1, keepdim=True)
    return (-(distance - nearest) * log_precision.exp()).softmax(dim=1)


def _entropy(chances: Tensor) -> Tensor:
    return torch.special.entr(chances).sum(dim=1, keepdim=True)
