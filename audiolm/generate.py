"""The three-stage pipeline: semantic tokens, coarse codes, fine codes, sound (AudioLM, section III-C and III-D)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from audiolm.decoding import CONTEXT_FRAMES, PieceDecoder, decode_codes
from audiolm.pipeline import AcousticDraw, Parts, SemanticDraw
from audiolm.sampling import Decoder, SamplingOptions
from audiolm.semantic.tokenizer import encode_long
from audiolm.semantic.w2v_bert import FRAME_SAMPLES
from audiolm.tokens import FRAMES_PER_SEMANTIC

__all__ = ["acoustic_generation", "continuation", "resynthesise", "stream", "unconditional"]

HOP = FRAME_SAMPLES // FRAMES_PER_SEMANTIC
PROMPT_FRAMES = 750
"""40 ms frames (30 s, the paper's longest crop) of a prompt's end that are heard; no stage sees further back."""


def resynthesise(parts: Parts, clips: Sequence[np.ndarray], levels: int) -> list[np.ndarray]:
    """Each clip through the codec at its first ``levels``; same lengths."""
    return [decode_codes(parts.codec, _codes(parts, clip)[:levels], parts.device)[: len(clip)] for clip in clips]


def acoustic_generation(
    parts: Parts, clips: Sequence[np.ndarray], seeds: Sequence[int], options: SamplingOptions, decoder: Decoder
) -> list[np.ndarray]:
    """Each clip said again: its own semantic tokens, drawn codes; same lengths."""
    semantic = [_semantic(parts, clip) for clip in clips]
    nothing = [_no_codes(parts)] * len(clips)
    frames = [len(row) * FRAMES_PER_SEMANTIC for row in semantic]
    codes = AcousticDraw(parts, nothing, frames, seeds, options, decoder).advance(semantic, frames)
    sounds = [decode_codes(parts.codec, row, parts.device) for row in codes]
    return [sound[: len(clip)] for sound, clip in zip(sounds, clips, strict=True)]


def continuation(
    parts: Parts,
    prompts: Sequence[np.ndarray],
    samples: int,
    seeds: Sequence[int],
    options: SamplingOptions,
    decoder: Decoder,
    until_end: bool,
) -> list[np.ndarray]:
    """``samples`` samples that follow each prompt, without it; at most so many with ``until_end``.

    A prompt is aligned at its end: what exceeds whole 40 ms frames, or 30 s, is cut from its start, and a shorter one
    is filled up with silence in front.
    """
    heard = [_heard(parts, prompt) for prompt in prompts]
    return _draw(parts, heard, samples, seeds, options, decoder, until_end)


def unconditional(
    parts: Parts, samples: int, seeds: Sequence[int], options: SamplingOptions, decoder: Decoder, until_end: bool
) -> list[np.ndarray]:
    """``samples`` samples from nothing, one clip per seed; at most so many with ``until_end``."""
    nothing = [(np.zeros(0, dtype=np.int64), _no_codes(parts))] * len(seeds)
    return _draw(parts, nothing, samples, seeds, options, decoder, until_end)


def stream(
    parts: Parts,
    prompt: np.ndarray | None,
    samples: int,
    seed: int,
    options: SamplingOptions,
    decoder: Decoder,
    until_end: bool,
) -> Iterator[np.ndarray]:
    """The continuation (or unconditional clip, without ``prompt``) in pieces, each as soon as it can be decoded."""
    heard, known = _heard(parts, prompt) if prompt is not None else (np.zeros(0, dtype=np.int64), _no_codes(parts))
    frames = -(-samples // FRAME_SAMPLES)
    speech = SemanticDraw(parts, [heard], frames, [seed], options)
    if until_end:
        speech.draw_until_end()
        frames = len(speech.frames[0])
        samples = min(samples, frames * FRAME_SAMPLES)
    total = frames * FRAMES_PER_SEMANTIC
    acoustics = AcousticDraw(parts, [known], [total], [seed], options, decoder)
    sound = PieceDecoder(parts.codec, parts.device, known[:, -CONTEXT_FRAMES:])
    given = goal = 0
    while goal < total:
        goal = acoustics.next_goal(0)
        speech.advance(acoustics.semantic_needed(0, goal) - len(heard))
        semantic = np.concatenate([heard, speech.frames[0]])
        piece = sound.push(acoustics.advance([semantic], [goal])[0], last=goal == total)[: samples - given]
        given += len(piece)
        if len(piece):
            yield piece


def _draw(
    parts: Parts,
    heard: Sequence[tuple[np.ndarray, np.ndarray]],
    samples: int,
    seeds: Sequence[int],
    options: SamplingOptions,
    decoder: Decoder,
    until_end: bool,
) -> list[np.ndarray]:
    """New sound after each of ``heard``: its semantic tokens ``[frame]`` and its codes ``[level, frame]``."""
    speech = SemanticDraw(parts, [tokens for tokens, _ in heard], -(-samples // FRAME_SAMPLES), seeds, options)
    if until_end:
        speech.draw_until_end()
    else:
        speech.advance(-(-samples // FRAME_SAMPLES))
    new = speech.frames
    frames = [len(row) * FRAMES_PER_SEMANTIC for row in new]
    semantic = [np.concatenate([tokens, row]) for (tokens, _), row in zip(heard, new, strict=True)]
    draw = AcousticDraw(parts, [codes for _, codes in heard], frames, seeds, options, decoder)
    drawn = draw.advance(semantic, frames)
    return [
        decode_codes(parts.codec, after, parts.device, before[:, -CONTEXT_FRAMES:])[:samples]
        for (_, before), after in zip(heard, drawn, strict=True)
    ]


def _heard(parts: Parts, prompt: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    prompt = _aligned_at_end(prompt)
    return _semantic(parts, prompt), _codes(parts, prompt)


def _semantic(parts: Parts, clip: np.ndarray) -> np.ndarray:
    return encode_long(parts.tokenizer, torch.from_numpy(clip).to(parts.device)).cpu().numpy()


def _codes(parts: Parts, clip: np.ndarray) -> np.ndarray:
    padded = np.pad(clip, (0, -len(clip) % FRAME_SAMPLES))
    codes = parts.codec.encode(torch.from_numpy(padded).unsqueeze(0).to(parts.device))[0]
    return codes[: parts.levels].cpu().numpy()


def _no_codes(parts: Parts) -> np.ndarray:
    return np.zeros((parts.levels, 0), dtype=np.int64)


def _aligned_at_end(prompt: np.ndarray) -> np.ndarray:
    if len(prompt) < FRAME_SAMPLES:
        return np.pad(prompt, (FRAME_SAMPLES - len(prompt), 0))
    whole = len(prompt) - len(prompt) % FRAME_SAMPLES
    return np.ascontiguousarray(prompt[-min(whole, PROMPT_FRAMES * FRAME_SAMPLES) :])
