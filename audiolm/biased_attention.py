"""Attention with a learnt bias on its scores, trained without keeping the probabilities.

Fused attention takes a bias but gives it no gradient, and the plain form keeps ``[batch, head, query, key]`` of every
layer for the backward pass. Here the forward pass is fused, and the backward pass computes the probabilities again,
one sequence at a time (the idea of FlashAttention, Dao et al. 2022, section 3.1, with rows in place of tiles).
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["biased_attention"]


def biased_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """``softmax(query key^T / sqrt(width) + bias) value``.

    ``query``, ``key``, ``value``: ``[batch, head, token, width]``; ``bias``: ``[1, head, token, token]``, -inf where a
    key must not be seen. Gives ``[batch, head, token, width]`` and gradients for all four.
    """
    if torch.is_grad_enabled() and bias.requires_grad:
        return _BiasedAttention.apply(query, key, value, bias)  # type: ignore[no-any-return]
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))


class _BiasedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        ctx.save_for_backward(query, key, value, bias, mixed)
        return mixed

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query, key, value, bias, mixed = ctx.saved_tensors
        (given,) = gradients
        to_query, to_key, to_value = (torch.empty_like(x) for x in (query, key, value))
        to_bias = torch.zeros_like(bias)
        scale = 1 / math.sqrt(query.shape[-1])
        for row in range(len(query)):
            scores = torch.baddbmm(bias[0].to(query.dtype), query[row], key[row].transpose(1, 2), alpha=scale)
            chances = scores.softmax(dim=-1)
            to_value[row] = torch.bmm(chances.transpose(1, 2), given[row])
            change = torch.bmm(given[row], value[row].transpose(1, 2))
            change -= (given[row] * mixed[row]).sum(dim=-1, keepdim=True)
            change *= chances
            to_bias[0] += change
            to_query[row] = torch.bmm(change, key[row]) * scale
            to_key[row] = torch.bmm(change.transpose(1, 2), query[row]) * scale
        return to_query, to_key, to_value, to_bias
