"""Our stage and Hugging Face's decoders at one size, each as a function that makes one more token at batch ``n``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from audiolm.incremental import decoder_for
from audiolm.precision import Precision
from audiolm.sampling import StageSampling, choose
from audiolm.stages import Stage, StageConfig, paper_stage
from audiolm.tokens import Layout
from audiolm.transformer import TransformerConfig

__all__ = ["BASE", "PAPER", "Size", "hugging_face", "hugging_face_token", "our_token", "stage"]

CODES = 1024


class Size(NamedTuple):
    """A decoder's size; ``gated``: width of a gated feed-forward with as many weights as a plain one of ``4 * dim``."""

    layers: int
    heads: int
    dim: int
    gated: int


PAPER = Size(12, 16, 1024, 2730)
BASE = Size(6, 8, 512, 1365)


def stage(size: Size, precision: Precision = "float32") -> Stage:
    """The paper's coarse stage at ``size``, random weights, no dropout (Hugging Face's Llama has none)."""
    layers, heads, dim, _ = size
    transformer = TransformerConfig(layers=layers, heads=heads, dim=dim, ff_dim=4 * dim, dropout=0.0)
    published = paper_stage(Layout(kind="coarse"))
    config = StageConfig(layout=published.layout, transformer=transformer, window=published.window, deduplicate=True)
    return Stage(config).eval().compress(precision)


def our_token(model: Stage, cached: int, batch: int = 1, room: int = 200) -> Callable[[], Tensor]:
    """One token after ``cached`` others, sampling included, as :meth:`Stage.sample` makes it."""
    cache = model.transformer.cache(batch, cached + room)
    if cached:
        cache.pairs[..., :cached, :].normal_()
    cache.length = cached
    decoder = decoder_for(model.transformer, cache)
    head = model.head[model.config.layout.head_rows(0)]
    draws = torch.rand(batch, dtype=torch.float64)
    position = torch.zeros(batch, dtype=torch.int64)
    options = StageSampling(temperature=0.8)
    state = {"ids": torch.zeros(batch, dtype=torch.int64)}

    def token() -> Tensor:
        x = F.embedding(state["ids"], model.embedding.weight) + model.role.weight[1]
        state["ids"] = choose(F.linear(decoder.step(x, position), head), draws, options)
        return state["ids"]

    return token


def hugging_face(kind: str, size: Size) -> Any:
    """``transformers``' Llama or GPT-2 with random weights and our vocabulary of one level and an end."""
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM  # pyright: ignore[reportMissingImports]

    layers, heads, dim, gated = size
    if kind == "llama":
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=CODES + 1,
                hidden_size=dim,
                intermediate_size=gated,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                max_position_embeddings=4096,
            )
        ).eval()
    config = GPT2Config(
        vocab_size=CODES + 1,
        n_positions=4096,
        n_embd=dim,
        n_layer=layers,
        n_head=heads,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    return GPT2LMHeadModel(config).eval()


def hugging_face_token(model: Any, cached: int) -> Callable[[], Tensor]:
    """One token after ``cached`` others with the library's own dynamic cache, drawn by torch's multinomial."""
    from transformers import DynamicCache  # pyright: ignore[reportMissingImports]

    cache = DynamicCache(config=model.config)
    state = {"ids": torch.zeros((1, 1), dtype=torch.int64)}
    if cached:
        model(input_ids=torch.randint(CODES, (1, cached)), past_key_values=cache, use_cache=True)

    def token() -> Tensor:
        logits = model(input_ids=state["ids"], past_key_values=cache, use_cache=True).logits[:, -1]
        state["ids"] = torch.multinomial((logits / 0.8).softmax(dim=-1), 1)
        return state["ids"]

    return token
