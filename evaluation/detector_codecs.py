"""Trained codecs as sources of clips for the detector: ours (recordings through it stay bona fide) and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import audiolm
from audiolm.checkpoint import weights_digest
from audiolm.codec import SoundStream

__all__ = ["codecs"]

OWN = Path(audiolm.__file__).parent / "pretrained" / "nano" / "codec"
OWN_CODEC = "own_codec"
LEVELS = (12, 12, 8, 4)
"""Depths to draw from: half of the clips at full depth."""


def _resynthesiser(folder: Path) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    import torch

    codec = SoundStream.load(folder).eval()

    def resynthesise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        levels = min(int(rng.choice(LEVELS)), codec.n_levels)
        with torch.inference_mode():
            made = codec.decode(codec.encode(torch.from_numpy(samples.copy())[None], levels))[0].numpy()
        made = np.pad(made, (0, max(0, samples.size - made.size)))[: samples.size]
        return (made / max(1.0, float(np.abs(made).max()))).astype(np.float32)

    return resynthesise


def codecs(
    named: Mapping[str, Path], *, own: bool = True
) -> dict[str, tuple[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]]]:
    """Ours as ``own_codec`` (unless ``own`` is false) and those of ``named`` folders, with digests of their weights.

    Raises:
        ValueError: no codec there, or another one called ``own_codec``.
    """
    if OWN_CODEC in named:
        raise ValueError(f"the name {OWN_CODEC!r} is that of the shipped model's codec; choose another")
    folders = {**({OWN_CODEC: OWN} if own else {}), **named}
    return {name: (weights_digest(folder), _resynthesiser(folder)) for name, folder in folders.items()}
