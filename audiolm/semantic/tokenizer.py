"""Waveform to semantic tokens, one per 40 ms: the protocol and our own back end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiolm import checkpoint
from audiolm.semantic.kmeans import Clusters, assign
from audiolm.semantic.w2v_bert import FRAME_SAMPLES, W2vBert, W2vBertConfig

__all__ = ["SemanticTokenizer", "TokenizerConfig", "W2vBertTokenizer"]

PART = "semantic"


@runtime_checkable
class SemanticTokenizer(Protocol):
    """What the language models ask of a semantic tokenizer; ``n_tokens``: size of its vocabulary."""

    n_tokens: int

    def encode(self, samples: Tensor) -> Tensor:
        """16 kHz float32 ``[batch, time]`` to int64 ``[batch, ceil(time / 640)]`` in ``[0, n_tokens)``; deterministic."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """``tap_layer``: block (1-based) of the masked-prediction stack whose output is clustered into ``n_tokens``."""

    model: W2vBertConfig = field(default_factory=W2vBertConfig)
    tap_layer: int = 2
    n_tokens: int = 256

    def __post_init__(self) -> None:
        if not 1 <= self.tap_layer <= self.model.masked.layers:
            raise ValueError(f"tap_layer is {self.tap_layer}; the masked stack has layers 1 to {self.model.masked.layers}")


class W2vBertTokenizer(nn.Module):
    """w2v-BERT features, normalised per dimension, to the nearest of ``n_tokens`` centroids (AudioLM, section 3.1)."""

    def __init__(self, config: TokenizerConfig, model: W2vBert, clusters: Clusters) -> None:
        super().__init__()
        self.config = config
        self.n_tokens = config.n_tokens
        self.model = model
        for name, value in clusters._asdict().items():
            self.register_buffer(name, value.clone())
        self.eval().requires_grad_(False)

    @classmethod
    def untrained(cls, config: TokenizerConfig) -> W2vBertTokenizer:
        """The right shapes with the weights still to be loaded."""
        dim = config.model.masked.dim
        clusters = Clusters(torch.zeros(dim), torch.ones(dim), torch.randn(config.n_tokens, dim))
        return cls(config, W2vBert(config.model), clusters)

    @classmethod
    def load(cls, folder: str | Path) -> W2vBertTokenizer:
        """Read a folder that :meth:`save` wrote; :class:`~audiolm.checkpoint.CheckpointError` where it does not fit."""
        mapping, state, _ = checkpoint.load_part(folder, PART)
        tokenizer = cls.untrained(checkpoint.config_from_dict(TokenizerConfig, mapping))
        checkpoint.load_weights(tokenizer, state, folder)
        return tokenizer

    def save(self, folder: str | Path, record: Mapping[str, Any]) -> None:
        """Write network, normalisation and centroids as part ``semantic``."""
        config = checkpoint.config_to_dict(self.config)
        checkpoint.save_part(folder, part=PART, config=config, state_dict=self.state_dict(), record=record)

    @torch.inference_mode()
    def encode(self, samples: Tensor) -> Tensor:
        """16 kHz float32 ``[batch, time]`` to int64 ``[batch, ceil(time / 640)]``; the last frame is padded with zeros.

        Raises:
            ValueError: not two dimensions, or no samples.
        """
        if samples.ndim != 2 or samples.shape[1] == 0:
            raise ValueError(f"samples have shape {list(samples.shape)}; give [batch, time] with time above 0")
        padded = F.pad(samples.float(), (0, -samples.shape[1] % FRAME_SAMPLES))
        lengths = torch.full((len(padded),), padded.shape[1] // FRAME_SAMPLES, device=padded.device)
        features = self.model.features(padded, lengths, self.config.tap_layer)
        clusters = Clusters(*(self.get_buffer(name) for name in Clusters._fields))
        return assign(features, clusters)
