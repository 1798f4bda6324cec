"""Tokens of the training recordings, computed once per pair of tokenizers and kept beside the training runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from audiolm.checkpoint import part_digest
from audiolm.codec.soundstream import SoundStream
from audiolm.dataset import Recording
from audiolm.semantic.tokenizer import W2vBertTokenizer
from audiolm.train_stages import TokenisedUtterance

__all__ = ["tokenised"]

MAX_SECONDS = 40.0
"""Longer recordings are cut here: the longest training crop is 30 s."""


def tokenised(
    recordings: Sequence[Recording], codec_folder: Path, semantic_folder: Path, cache_folder: Path
) -> list[TokenisedUtterance]:
    """Tokens of ``recordings``, from the cache where tokenizers and recordings are the same as when it was written."""
    key = _key(recordings, codec_folder, semantic_folder)
    path = cache_folder / f"tokens-{key[:16]}.safetensors"
    if not path.exists():
        cache_folder.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        save_file(_encode(recordings, codec_folder, semantic_folder), temporary)
        temporary.replace(path)
    arrays = load_file(path)
    return [
        TokenisedUtterance(
            arrays[f"{item.utterance_id}/semantic"].astype(np.int64),
            arrays[f"{item.utterance_id}/codes"].astype(np.int64),
        )
        for item in recordings
    ]


def _key(recordings: Sequence[Recording], codec_folder: Path, semantic_folder: Path) -> str:
    digest = hashlib.sha256()
    parts = [part_digest(codec_folder, "codec"), part_digest(semantic_folder, "semantic")]
    digest.update(json.dumps(parts).encode())
    for item in recordings:
        digest.update(f"{item.utterance_id}:{len(item.samples)};".encode())
    return digest.hexdigest()


def _encode(recordings: Sequence[Recording], codec_folder: Path, semantic_folder: Path) -> dict[str, np.ndarray]:
    codec = SoundStream.load(codec_folder)
    tokenizer = W2vBertTokenizer.load(semantic_folder)
    arrays: dict[str, np.ndarray] = {}
    for item in recordings:
        samples = item.samples[: int(MAX_SECONDS * codec.config.sample_rate_hz)]
        samples = np.pad(samples, (0, -len(samples) % (2 * codec.config.hop)))
        row = torch.from_numpy(samples)[None]
        arrays[f"{item.utterance_id}/semantic"] = tokenizer.encode(row)[0].numpy().astype(np.int16)
        arrays[f"{item.utterance_id}/codes"] = codec.encode(row)[0].numpy().astype(np.int16)
    return arrays
