"""The three-stage pipeline: semantic tokens, coarse codes, fine codes, sound (AudioLM, section III-C and III-D)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from audiolm.codec.soundstream import SoundStream
from audiolm.sampling import SamplingOptions
from audiolm.semantic.tokenizer import SemanticTokenizer, encode_long
from audiolm.semantic.w2v_bert import FRAME_SAMPLES
from audiolm.stages import Stage
from audiolm.tokens import FRAMES_PER_SEMANTIC, Runs, deduplicate
from audiolm.windows import row_generator, sample_blocks, sample_sliding

__all__ = ["Parts", "acoustic_generation", "continuation", "resynthesise", "unconditional"]

SEMANTIC, COARSE, FINE = 1, 2, 3
"""Places of the pipeline; each has its own random stream of an item's seed."""
CONTEXT_FRAMES = 100
"""Acoustic frames (2 s) of the prompt that the decoder hears before a continuation."""
HOP = FRAME_SAMPLES // FRAMES_PER_SEMANTIC


class Parts(NamedTuple):
    """Frozen tokenizers, the three language models and the codec."""

    codec: SoundStream
    tokenizer: SemanticTokenizer
    semantic: Stage
    coarse: Stage
    fine: Stage

    @property
    def device(self) -> torch.device:
        return self.coarse.head.device

    @property
    def levels(self) -> int:
        """Codec levels that the stages model."""
        layout = self.fine.config.layout
        return layout.n_coarse + layout.n_fine


def resynthesise(parts: Parts, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Each clip through the codec at the levels the stages use; same lengths."""
    return [_decode(parts, _codes(parts, clip), len(clip)) for clip in clips]


def acoustic_generation(
    parts: Parts, clips: Sequence[np.ndarray], seeds: Sequence[int], options: SamplingOptions
) -> list[np.ndarray]:
    """Each clip said again: its own semantic tokens, drawn coarse and fine codes; same lengths."""
    semantic = [_semantic(parts, clip) for clip in clips]
    nothing = [np.zeros((parts.coarse.config.layout.n_coarse, 0), dtype=np.int64) for _ in clips]
    codes = _acoustics(parts, semantic, nothing, seeds, options)
    return [_decode(parts, row, len(clip)) for row, clip in zip(codes, clips, strict=True)]


def continuation(
    parts: Parts, prompts: Sequence[np.ndarray], samples: int, seeds: Sequence[int], options: SamplingOptions
) -> list[np.ndarray]:
    """``samples`` samples that follow each prompt, without it.

    A prompt is aligned at its end: what exceeds whole 40 ms frames is cut from its start, and a shorter one is
    filled up with silence in front.
    """
    prompts = [_aligned_at_end(prompt) for prompt in prompts]
    heard = [_semantic(parts, prompt) for prompt in prompts]
    codes = [_codes(parts, prompt) for prompt in prompts]
    frames = -(-samples // FRAME_SAMPLES)
    new = _draw_semantic(parts, heard, frames, seeds, options)
    semantic = [np.concatenate(pair) for pair in zip(heard, new, strict=True)]
    n_coarse = parts.coarse.config.layout.n_coarse
    drawn = _acoustics(parts, semantic, [row[:n_coarse] for row in codes], seeds, options)
    clips = []
    for before, after in zip(codes, drawn, strict=True):
        context = before[:, -CONTEXT_FRAMES:]
        skip = context.shape[1] * HOP
        clips.append(_decode(parts, np.concatenate([context, after], axis=1), skip + samples)[skip:])
    return clips


def unconditional(parts: Parts, samples: int, seeds: Sequence[int], options: SamplingOptions) -> list[np.ndarray]:
    """``samples`` samples from nothing, one clip per seed."""
    frames = -(-samples // FRAME_SAMPLES)
    silence = [np.zeros(0, dtype=np.int64) for _ in seeds]
    semantic = _draw_semantic(parts, silence, frames, seeds, options)
    nothing = [np.zeros((parts.coarse.config.layout.n_coarse, 0), dtype=np.int64) for _ in seeds]
    return [_decode(parts, row, samples) for row in _acoustics(parts, semantic, nothing, seeds, options)]


def _draw_semantic(
    parts: Parts, heard: Sequence[np.ndarray], frames: int, seeds: Sequence[int], options: SamplingOptions
) -> list[np.ndarray]:
    """``frames`` semantic tokens after each of ``heard`` ``[frame]``; EOS is not drawn, since the length is given."""
    config = parts.semantic.config
    known = [deduplicate(row).tokens if config.deduplicate and len(row) else row for row in heard]
    count = max(1, round(frames / config.frames_per_token))
    generators = [row_generator(seed, SEMANTIC) for seed in seeds]
    empty = [np.zeros(0, dtype=np.int64) for _ in seeds]
    drawn = sample_sliding(
        parts.semantic, empty, [row[None] for row in known], [count] * len(known), options.semantic, generators
    )
    edges = np.arange(count + 1) * frames // count
    return [Runs(row[0], np.diff(edges)).expand() for row in drawn]


def _acoustics(
    parts: Parts,
    semantic: Sequence[np.ndarray],
    known: Sequence[np.ndarray],
    seeds: Sequence[int],
    options: SamplingOptions,
) -> list[np.ndarray]:
    """Codes ``[level, frame]`` over ``semantic`` ``[frame]`` after the ``known`` coarse codes, without those."""
    counts = [len(z) * FRAMES_PER_SEMANTIC - y.shape[1] for z, y in zip(semantic, known, strict=True)]
    generators = [row_generator(seed, COARSE) for seed in seeds]
    coarse = sample_sliding(parts.coarse, semantic, known, counts, options.coarse, generators)
    fine = sample_blocks(parts.fine, coarse, options.fine, seeds, FINE)
    return [np.concatenate(pair) for pair in zip(coarse, fine, strict=True)]


def _semantic(parts: Parts, clip: np.ndarray) -> np.ndarray:
    return encode_long(parts.tokenizer, torch.from_numpy(clip).to(parts.device)).cpu().numpy()


def _codes(parts: Parts, clip: np.ndarray) -> np.ndarray:
    padded = np.pad(clip, (0, -len(clip) % FRAME_SAMPLES))
    codes = parts.codec.encode(torch.from_numpy(padded).unsqueeze(0).to(parts.device))[0]
    return codes[: parts.levels].cpu().numpy()


def _decode(parts: Parts, codes: np.ndarray, samples: int) -> np.ndarray:
    row = torch.from_numpy(np.ascontiguousarray(codes)).unsqueeze(0).to(parts.device)
    sound: Tensor = parts.codec.decode(row)[0]
    return np.ascontiguousarray(sound[:samples].clamp(-1.0, 1.0).cpu().numpy(), dtype=np.float32)


def _aligned_at_end(prompt: np.ndarray) -> np.ndarray:
    if len(prompt) < FRAME_SAMPLES:
        return np.pad(prompt, (FRAME_SAMPLES - len(prompt), 0))
    return prompt[len(prompt) % FRAME_SAMPLES :]
