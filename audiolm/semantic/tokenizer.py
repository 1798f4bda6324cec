"""Waveform to semantic tokens, one per 40 ms: the protocol and our own back end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiolm import checkpoint
from audiolm.semantic.kmeans import Clusters, assign
from audiolm.semantic.w2v_bert import FRAME_SAMPLES, W2vBert, W2vBertConfig

if TYPE_CHECKING:
    from audiolm.semantic.bundles import BundleTokenizer

__all__ = ["SemanticTokenizer", "TokenizerConfig", "W2vBertTokenizer", "encode_long", "load_tokenizer"]

PART = "semantic"
BLOCK_FRAMES, SIDE_FRAMES = 750, 25
"""Longest stretch encoded at once (30 s) and what it sees beyond its ends (1 s), in 40 ms frames."""


@runtime_checkable
class SemanticTokenizer(Protocol):
    """What the language models ask of a semantic tokenizer; ``n_tokens``: size of its vocabulary."""

    n_tokens: int

    def to(self, device: str) -> SemanticTokenizer:
        """Itself, on ``device``."""
        ...

    def encode(self, samples: Tensor) -> Tensor:
        """16 kHz ``[batch, time]`` to int64 ``[batch, ceil(time / 640)]`` in ``[0, n_tokens)``; deterministic."""
        ...

    def save(self, folder: str | Path, record: Mapping[str, Any]) -> None:
        """Write what :func:`load_tokenizer` reads."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """``tap_layer``: block (1-based) of the masked-prediction stack whose output is clustered into ``n_tokens``."""

    model: W2vBertConfig = field(default_factory=W2vBertConfig)
    tap_layer: int = 2
    n_tokens: int = 256

    def __post_init__(self) -> None:
        if not 1 <= self.tap_layer <= self.model.masked.layers:
            last = self.model.masked.layers
            raise ValueError(f"tap_layer is {self.tap_layer}; the masked stack has layers 1 to {last}")


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
        config = checkpoint.config_from_dict(TokenizerConfig, mapping)
        return checkpoint.build(lambda: cls.untrained(config), state, folder)

    def save(self, folder: str | Path, record: Mapping[str, Any]) -> None:
        """Write network, normalisation and centroids as part ``semantic``."""
        config = checkpoint.config_to_dict(self.config)
        checkpoint.save_part(folder, part=PART, config=config, state_dict=self.state_dict(), record=record)

    @property
    def clusters(self) -> Clusters:
        """Normalisation and centroids, on the tokenizer's device."""
        return Clusters(*(self.get_buffer(name) for name in Clusters._fields))

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
        return assign(features, self.clusters)


def load_tokenizer(folder: str | Path) -> W2vBertTokenizer | BundleTokenizer:
    """The tokenizer a part folder holds: ours, or centroids over a torchaudio bundle."""
    from audiolm.semantic import bundles

    if checkpoint.stored_part(folder) == bundles.PART:
        return bundles.BundleTokenizer.load(folder)
    return W2vBertTokenizer.load(folder)


def encode_long(tokenizer: SemanticTokenizer, samples: Tensor) -> Tensor:
    """Tokens ``[frame]`` of one clip ``[time]`` in bounded memory: blocks of 30 s that see a second on either side."""
    block, side = BLOCK_FRAMES * FRAME_SAMPLES, SIDE_FRAMES * FRAME_SAMPLES
    if len(samples) <= block:
        return tokenizer.encode(samples.unsqueeze(0))[0]
    pieces = []
    for start in range(0, len(samples), block):
        first = max(0, start - side)
        tokens = tokenizer.encode(samples[first : start + block + side].unsqueeze(0))[0]
        skip = (start - first) // FRAME_SAMPLES
        frames = -(-min(block, len(samples) - start) // FRAME_SAMPLES)
        pieces.append(tokens[skip : skip + frames])
    return torch.cat(pieces)
