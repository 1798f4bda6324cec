"""A whole model with random tiny weights, for the tests of generation."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from audiolm.codec import CodecConfig, SoundStream
from audiolm.delayed import DelayedConfig, DelayedStage
from audiolm.model import AudioLM
from audiolm.parallel import ParallelConfig, ParallelStage
from audiolm.pipeline import Parts
from audiolm.semantic.conformer import ConformerConfig
from audiolm.semantic.quantizer import QuantizerConfig
from audiolm.semantic.tokenizer import TokenizerConfig, W2vBertTokenizer
from audiolm.semantic.w2v_bert import W2vBertConfig
from audiolm.stages import Stage, StageConfig
from audiolm.tokens import Layout
from audiolm.transformer import TransformerConfig

N_SEMANTIC, N_COARSE, N_FINE, CODES = 12, 2, 3, 16
WINDOWS = {"semantic": 20, "coarse": 20, "fine": 10}


def tiny_stage(kind: str, *, paper: bool) -> Stage:
    layout = Layout(
        kind=kind,  # type: ignore[arg-type]
        n_semantic=N_SEMANTIC,
        n_coarse=N_COARSE,
        n_fine=N_FINE,
        codebook_size=CODES,
        time_positions=not paper,
    )
    plain = TransformerConfig(layers=2, heads=2, dim=16, ff_dim=24)
    fast = dataclasses.replace(plain, positions="rope", norm="rms", feed_forward="gated", qk_norm=True)
    deduplicated = paper and kind != "fine"
    config = StageConfig(
        layout=layout,
        transformer=plain if paper else fast,
        window=WINDOWS[kind],
        deduplicate=deduplicated,
        frames_per_token=1.7 if deduplicated else 1.0,
        aligned=not paper and kind != "semantic",
    )
    return Stage(config).eval()


def tiny_parallel() -> ParallelStage:
    conformer = ConformerConfig(dim=16, heads=2, layers=2)
    config = ParallelConfig(
        n_semantic=N_SEMANTIC,
        n_coarse=N_COARSE,
        n_levels=N_COARSE + N_FINE,
        codebook_size=CODES,
        code_dim=8,
        window=20,
        conformer=conformer,
    )
    return ParallelStage(config).eval()


def tiny_delayed() -> DelayedStage:
    config = DelayedConfig(
        n_semantic=N_SEMANTIC,
        n_coarse=N_COARSE,
        n_levels=N_COARSE + N_FINE,
        codebook_size=CODES,
        code_dim=8,
        window=20,
        context_layers=1,
        context_kernel=3,
        transformer=TransformerConfig(
            layers=2, heads=2, dim=16, ff_dim=24, positions="rope", norm="rms", feed_forward="gated", qk_norm=True
        ),
    )
    return DelayedStage(config).eval()


def tiny_model(*, paper: bool = False) -> AudioLM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stack = ConformerConfig(dim=16, heads=2, layers=2)
        network = W2vBertConfig(contrastive=stack, masked=stack, quantizer=QuantizerConfig(codes=8), channels=4)
        tokenizer = W2vBertTokenizer.untrained(TokenizerConfig(model=network, tap_layer=1, n_tokens=N_SEMANTIC))
        codec = SoundStream(
            CodecConfig(channels=2, latent_dim=8, n_levels=N_COARSE + N_FINE + 1, codebook_size=CODES)
        ).eval()
        codec.quantizer.initialise(torch.randn(200, 8), torch.Generator().manual_seed(0))
        semantic, coarse, fine = (tiny_stage(kind, paper=paper) for kind in WINDOWS)
        parallel, delayed = tiny_parallel(), tiny_delayed()
    return AudioLM(Parts(codec, tokenizer, semantic, coarse, fine, parallel, delayed))


def noise(samples: int, seed: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)
