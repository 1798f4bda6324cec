"""Semantic tokens and features of our model as representations; beside the generator, the one file that knows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from audiolm.audio import AudioClip
from evaluation.language.features import Representation

__all__ = ["model_representation"]

SAMPLE_RATE_HZ = 16_000
FRAME_RATE_HZ = 25.0


def model_representation(source: str, layer: int | None = None, device: str = "cpu") -> Representation:
    """Tokens of ``source``, or the features of block ``layer`` of its masked-prediction stack.

    ``source``: ``nano``, a model folder, a hub id, or the folder of a tokenizer or of a trained w2v-BERT.

    Raises:
        ValueError: not there, not ours, or a w2v-BERT without ``layer`` (it has no tokens yet).
    """
    from audiolm import checkpoint
    from audiolm.semantic.tokenizer import W2vBertTokenizer
    from audiolm.semantic.w2v_bert import PART, W2vBert, W2vBertConfig

    is_part = (Path(source) / checkpoint.CONFIG_NAME).is_file()
    if is_part and checkpoint.stored_part(source) == PART:
        config, state, _ = checkpoint.load_part(source, PART)
        settings = checkpoint.config_from_dict(W2vBertConfig, config)
        network = checkpoint.build(lambda: W2vBert(settings), state, source)
        if layer is None:
            raise ValueError(f"{source}: a w2v-BERT has features and no tokens; name a block, as in model:{source}#2")
        return _features(source, network.eval().to(device), layer, device)
    tokenizer = _tokenizer(source, is_part).to(device)
    if layer is None:
        return _tokens(source, tokenizer, device)
    if not isinstance(tokenizer, W2vBertTokenizer):
        raise ValueError(f"{source}: features by block are for our own w2v-BERT; leave out #{layer}")
    return _features(source, tokenizer.model, layer, device)


def _tokenizer(source: str, is_part: bool):
    from audiolm.semantic.tokenizer import load_tokenizer

    if is_part:
        return load_tokenizer(source)
    from audiolm import AudioLM

    return AudioLM.from_pretrained(source).parts.tokenizer


def _tokens(source: str, tokenizer, device: str) -> Representation:
    import torch

    from audiolm.semantic.tokenizer import encode_long

    def encode(clip: AudioClip) -> np.ndarray:
        samples = torch.from_numpy(clip.at_rate(SAMPLE_RATE_HZ).samples).to(device)
        return encode_long(tokenizer, samples).cpu().numpy()

    return Representation(f"model:{source}", encode, FRAME_RATE_HZ, True, _centroids(tokenizer))


def _centroids(tokenizer) -> np.ndarray | None:
    """The centroids of our k-means tokenizers, in normalised units; None for a tokenizer without any."""
    held = getattr(tokenizer, "centroids", None)
    if held is None and hasattr(tokenizer, "clusters"):
        held = tokenizer.clusters.centroids
    return None if held is None else held.cpu().numpy()


def _features(source: str, network, layer: int, device: str) -> Representation:
    import torch

    from audiolm.semantic.w2v_bert import FRAME_SAMPLES

    def encode(clip: AudioClip) -> np.ndarray:
        samples = clip.at_rate(SAMPLE_RATE_HZ).samples
        filled = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES))
        lengths = torch.tensor([len(filled) // FRAME_SAMPLES], device=device)
        with torch.inference_mode():
            features = network.features(torch.from_numpy(filled)[None].to(device), lengths, layer)
        return features[0].float().cpu().numpy()

    return Representation(f"model:{source}#{layer}", encode, FRAME_RATE_HZ)
