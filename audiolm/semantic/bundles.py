"""Semantic tokens from torchaudio's HuBERT and WavLM bundles, for users who are online or have their weights cached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from audiolm import checkpoint
from audiolm.semantic.kmeans import Clusters, assign, fit_centroids
from audiolm.semantic.w2v_bert import FRAME_SAMPLES

__all__ = ["BUNDLES", "BundleTokenizer", "BundleTokenizerConfig", "load_bundle"]

PART = "semantic_bundle"
BUNDLES = ("HUBERT_BASE", "HUBERT_LARGE", "WAVLM_BASE", "WAVLM_BASE_PLUS", "WAVLM_LARGE")
BUNDLE_HOP, BUNDLE_FIELD = 320, 400
"""Stride and receptive field of wav2vec 2.0's feature encoder in samples; frames come at 50 Hz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleTokenizerConfig:
    """``layer``: transformer block (1-based) whose output is clustered; pairs of 20 ms frames are averaged to 40 ms."""

    bundle: str = "HUBERT_BASE"
    layer: int = 9
    n_tokens: int = 500

    def __post_init__(self) -> None:
        if self.bundle not in BUNDLES:
            raise ValueError(f"bundle is {self.bundle!r}; use one of {', '.join(BUNDLES)}")
        if self.layer < 1:
            raise ValueError(f"layer is {self.layer}; use 1 or more")


def load_bundle(name: str) -> nn.Module:
    """The bundle's network; torchaudio downloads its weights where they are not cached.

    Raises:
        ValueError: the weights are not cached and cannot be fetched.
    """
    import torchaudio

    try:
        return getattr(torchaudio.pipelines, name).get_model().eval()
    except OSError as error:
        raise ValueError(
            f"{name}: its weights cannot be fetched ({error}); go online once or put them into torch's hub cache"
        ) from error


class BundleTokenizer:
    """A bundle's features, normalised per dimension, to the nearest of ``n_tokens`` centroids."""

    def __init__(self, config: BundleTokenizerConfig, network: nn.Module, clusters: Clusters) -> None:
        self.config = config
        self.n_tokens = config.n_tokens
        self.network = network
        self.clusters = clusters

    @classmethod
    def fit(
        cls, config: BundleTokenizerConfig, network: nn.Module, speech: Sequence[np.ndarray], *, seed: int
    ) -> BundleTokenizer:
        """Cluster the features of 16 kHz ``speech``."""
        rows = [features(network, torch.from_numpy(wave)[None], config.layer)[0] for wave in speech]
        clusters = fit_centroids(torch.cat(rows).numpy(), n_clusters=config.n_tokens, seed=seed)
        return cls(config, network, clusters)

    @classmethod
    def load(cls, folder: str | Path) -> BundleTokenizer:
        """Read centroids that :meth:`save` wrote and fetch the bundle they belong to."""
        mapping, state, _ = checkpoint.load_part(folder, PART)
        config = checkpoint.config_from_dict(BundleTokenizerConfig, mapping)
        if state.keys() != set(Clusters._fields):
            raise checkpoint.CheckpointError(
                f"{Path(folder) / checkpoint.WEIGHTS_NAME}: holds {sorted(state)}, not {list(Clusters._fields)};"
                " fit the tokenizer again"
            )
        return cls(config, load_bundle(config.bundle), Clusters(**state))

    def save(self, folder: str | Path, record: Mapping[str, Any]) -> None:
        """Write the centroids; the network stays with torchaudio."""
        config = checkpoint.config_to_dict(self.config)
        checkpoint.save_part(folder, part=PART, config=config, state_dict=self.clusters._asdict(), record=record)

    def to(self, device: str) -> BundleTokenizer:
        self.network.to(device)
        self.clusters = Clusters(*(values.to(device) for values in self.clusters))
        return self

    @torch.inference_mode()
    def encode(self, samples: Tensor) -> Tensor:
        """16 kHz float32 ``[batch, time]`` to int64 ``[batch, ceil(time / 640)]``."""
        if samples.ndim != 2 or samples.shape[1] == 0:
            raise ValueError(f"samples have shape {list(samples.shape)}; give [batch, time] with time above 0")
        return assign(features(self.network, samples, self.config.layer), self.clusters)


@torch.inference_mode()
def features(network: nn.Module, samples: Tensor, layer: int) -> Tensor:
    """Output of block ``layer`` at 25 Hz: ``[batch, time]`` to ``[batch, ceil(time / 640), dim]``."""
    filled = F.pad(samples.float(), (0, -samples.shape[1] % FRAME_SAMPLES))
    margin = BUNDLE_FIELD - BUNDLE_HOP
    padded = F.pad(filled, (margin // 2, margin // 2))
    layers, _ = network.extract_features(padded, num_layers=layer)  # type: ignore[operator]
    frames = layers[-1]  # [batch, 2 * frame, dim]
    return frames.unflatten(1, (-1, 2)).mean(dim=2)
