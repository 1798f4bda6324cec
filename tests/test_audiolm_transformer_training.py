"""Attention with a learnt bias: values and gradients against attention written out, memory without probabilities."""

from __future__ import annotations

import torch

from audiolm.biased_attention import biased_attention
from audiolm.transformer import Transformer, TransformerConfig

TOKENS = 7


def tensors(dtype: torch.dtype = torch.float64) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn((2, 3, TOKENS, 4), generator=generator, dtype=dtype) for _ in range(3)]
    return [x.requires_grad_() for x in (*made, torch.randn((1, 3, TOKENS, TOKENS), generator=generator, dtype=dtype))]


def hidden(bias: torch.Tensor) -> torch.Tensor:
    return bias.masked_fill(torch.ones(TOKENS, TOKENS).triu(1).bool(), float("-inf"))


def written_out(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    return (q @ k.transpose(-1, -2) / 2 + bias).softmax(dim=-1) @ v


def test_values_and_gradients_are_those_of_plain_attention() -> None:
    got, expected = tensors(), tensors()
    weight = torch.randn((2, 3, TOKENS, 4), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    q, k, v, bias = got
    one = biased_attention(q, k, v, hidden(bias))
    q, k, v, bias = expected
    two = written_out(q, k, v, hidden(bias))
    torch.testing.assert_close(one, two)
    (one * weight).sum().backward()
    (two * weight).sum().backward()
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_the_gradient_is_that_of_small_differences() -> None:
    assert torch.autograd.gradcheck(lambda q, k, v, bias: biased_attention(q, k, v, hidden(bias)), tensors())


def test_training_keeps_no_probabilities() -> None:
    """With T5 bias, nothing of ``[.., token, token]`` is kept for the backward pass but the one shared bias."""
    config = TransformerConfig(layers=3, heads=2, dim=16, ff_dim=32, dropout=0.0)
    model = Transformer(config)
    kept: set[int] = set()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape[-2:] == (64, 64) and tensor.is_floating_point():
            kept.add(tensor.untyped_storage().data_ptr())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(torch.randn((2, 64, 16), generator=torch.Generator().manual_seed(0)), torch.arange(64).expand(2, 64))
    assert len(kept) <= 1
    assert model.bias is not None
