"""Trained codecs as sources of clips for the detector: ours (recordings through it stay bona fide) and others.

Our codec fed with sound at another rate than its own is one of the others: its learnt decoder then works on another
scale of time, and leaves its traces elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

import audiolm
from audiolm.checkpoint import weights_digest
from audiolm.codec import SoundStream
from detectors.preparation import resample

__all__ = ["OWN_CODEC", "codecs", "own_codec"]

OWN = Path(audiolm.__file__).parent / "pretrained" / "nano" / "codec"
OWN_CODEC = "own_codec"
LEVELS = (12, 12, 8, 4)
"""Depths to draw from: half of the clips at full depth."""
OTHER_RATE = "codec_other_rate"
OTHER_RATES_HZ = (11_025, 12_800, 20_000, 22_050, 24_000)
RATE_HZ = 16_000


@cache
def own_codec() -> SoundStream:
    """The shipped model's codec."""
    return SoundStream.load(OWN).eval()


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


def _at_other_rates(folder: Path) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    through = _resynthesiser(folder)

    def resynthesise(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        rate_hz = int(rng.choice(OTHER_RATES_HZ))
        made = resample(through(resample(samples, RATE_HZ, rate_hz), rng), rate_hz, RATE_HZ)
        return np.pad(made, (0, max(0, samples.size - made.size)))[: samples.size]

    return resynthesise


def codecs(
    named: Mapping[str, Path], *, own: bool = True
) -> dict[str, tuple[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]]]:
    """Ours as ``own_codec`` (unless ``own`` is false), the same at other rates as ``codec_other_rate``, and those of
    ``named`` folders, with digests of their weights.

    Raises:
        ValueError: no codec there, or another one called ``own_codec``.
    """
    if OWN_CODEC in named:
        raise ValueError(f"the name {OWN_CODEC!r} is that of the shipped model's codec; choose another")
    folders = {**({OWN_CODEC: OWN} if own else {}), **named}
    made = {name: (weights_digest(folder), _resynthesiser(folder)) for name, folder in folders.items()}
    return {**made, OTHER_RATE: (weights_digest(OWN), _at_other_rates(OWN))} if own else made
