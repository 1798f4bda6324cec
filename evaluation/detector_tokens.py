"""Our codec's tokens drawn anew on the way: what a language model over such tokens leaves behind, without one.

A codec picks the nearest code of each level; a language model draws one that is likely. Here each code is drawn among
the near ones, for some stretches and levels more freely than for others, so that a detector may learn what drawn tokens
sound like beside tokens that were merely coded.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from evaluation.detector_codecs import own_codec
from evaluation.detector_levels import at_level_of

__all__ = ["tokens_drawn"]

FREEDOM = (0.3, 1.6)
"""Of the draw, in spreads of what a level leaves over: at 0.3 half of the first codes stay, at 0.5 a quarter.

Drawn more lightly, speech is hardly other than a recording through the codec, which is genuine.
"""
STRETCH_FRAMES = (3, 40)


def tokens_drawn(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Float32 ``[time]`` at 16 kHz through our codec, its codes drawn among the near ones; same length and level."""
    codec = own_codec()
    with torch.inference_mode():
        latents = codec.latents(torch.from_numpy(np.array(samples, dtype=np.float32))[None])[0].T
        latents = _steadied(latents, rng)
        levels = int(rng.choice([4, 6, 8, 12, 12]))
        codes = _drawn_codes(latents, codec.quantizer.codebooks[: min(levels, codec.n_levels)], rng)
        made = codec.decode(codes[None])[0].numpy()
    return at_level_of(made, samples)


def _steadied(latents: Tensor, rng: np.random.Generator) -> Tensor:
    """``[frame, latent]``, sometimes smoother in time or nearer to the mean than speech is, sometimes with repeats."""
    if rng.random() < 0.3:
        reach = int(rng.choice([3, 5]))
        smooth = torch.nn.functional.avg_pool1d(latents.T[None], reach, 1, reach // 2, count_include_pad=False)[0].T
        latents = latents.lerp(smooth, float(rng.uniform(0.3, 1.0)))
    if rng.random() < 0.25:
        latents = latents.lerp(latents.mean(0, keepdim=True), float(rng.uniform(0.05, 0.25)))
    if rng.random() < 0.3:
        steps = rng.choice([0, 1, 2], size=len(latents), p=[0.1, 0.8, 0.1])
        latents = latents[torch.from_numpy(np.minimum(np.cumsum(steps) - steps[0], len(latents) - 1))]
    return latents


def _drawn_codes(latents: Tensor, codebooks: Tensor, rng: np.random.Generator) -> Tensor:
    """``[level, frame]``: in drawn stretches, from a drawn level on, a code near the nearest one in its place."""
    drawn = torch.from_numpy(_stretches(len(latents), float(rng.uniform(0.3, 1.0)), rng))
    freedom = float(rng.uniform(*FREEDOM))
    first = int(rng.choice([0, 0, 0, 1, 2, 4]))
    follows = rng.random() < 0.7  # later levels code what the drawn code left over, or what the nearest would have
    residual, codes = latents, []
    for level, book in enumerate(codebooks):
        distance = torch.cdist(residual, book).square()
        nearest = distance.argmin(1)
        scale = distance.min(1).values.mean().clamp_min(1e-9)
        chance = torch.from_numpy(rng.gumbel(size=tuple(distance.shape)).astype(np.float32))
        near = (chance - distance / (2 * freedom**2 * scale)).argmax(1)
        code = torch.where(drawn, near, nearest) if level >= first else nearest
        residual = residual - book[code if follows else nearest]
        codes.append(code)
    return torch.stack(codes)


def _stretches(frames: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Boolean ``[frame]``: stretches that make up about ``share`` of the frames."""
    marks: list[np.ndarray] = []
    while sum(map(len, marks)) < frames:
        marks.append(np.full(int(rng.integers(*STRETCH_FRAMES)), rng.random() < share))
    return np.concatenate(marks)[:frames]
