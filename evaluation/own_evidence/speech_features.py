"""Features of a speech model for a probe: mean and deviation over time of what its blocks put out.

The model is our own w2v-BERT (its first layers, then every block of both stacks), or one of torchaudio's bundles.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiolm.semantic.w2v_bert import FRAME_SAMPLES, W2vBert

__all__ = ["bundle_blocks", "network_digest", "own_block_count", "own_blocks", "window_vector"]

BUNDLE_HOP, BUNDLE_FIELD = 320, 400
"""Stride and receptive field of wav2vec 2.0's feature encoder in samples."""
BlocksOf = Callable[[np.ndarray], list[Tensor]]
"""Samples at 16 kHz to the output ``[frame, dim]`` of each block."""


def own_block_count(network: W2vBert) -> int:
    """The first layers (block 0), then the blocks of the contrastive and of the masked stack."""
    return 1 + network.config.contrastive.layers + network.config.masked.layers


def own_blocks(network: W2vBert) -> BlocksOf:
    """Outputs of our w2v-BERT without masking; samples are filled up to whole frames of 40 ms."""
    modules: Sequence[nn.Module] = [network.subsampler, *network.contrastive.blocks, *network.masked.blocks]

    def blocks(samples: np.ndarray) -> list[Tensor]:
        filled = torch.from_numpy(np.pad(samples, (0, -len(samples) % FRAME_SAMPLES)).astype(np.float32))
        seen: list[Tensor] = []
        hooks = [module.register_forward_hook(lambda _, __, out: seen.append(out[0])) for module in modules]
        try:
            with torch.inference_mode():
                lengths = torch.tensor([len(filled) // FRAME_SAMPLES])
                network.features(filled[None], lengths, network.config.masked.layers)
        finally:
            for hook in hooks:
                hook.remove()
        return seen

    return blocks


def bundle_blocks(network: nn.Module, last: int) -> BlocksOf:
    """Outputs of blocks 1 to ``last`` of a torchaudio wav2vec 2.0, HuBERT or WavLM; block 0 is left empty."""

    def blocks(samples: np.ndarray) -> list[Tensor]:
        margin = (BUNDLE_FIELD - BUNDLE_HOP) // 2
        sound = F.pad(torch.from_numpy(samples.astype(np.float32))[None], (margin, margin))
        with torch.inference_mode():
            layers, _ = network.extract_features(sound, num_layers=last)  # type: ignore[operator]
        return [torch.zeros(0, 0), *(layer[0] for layer in layers)]

    return blocks


def window_vector(blocks: Sequence[Tensor], chosen: Sequence[int]) -> np.ndarray:
    """Mean over time, then deviation, of each chosen block: float64 ``[2 * blocks * dim]``."""
    parts = [values for at in chosen for values in (blocks[at].mean(dim=0), blocks[at].std(dim=0, correction=0))]
    return torch.cat(parts).double().numpy()


def network_digest(network: nn.Module) -> str:
    """SHA-256 over names and values of a network's weights."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
