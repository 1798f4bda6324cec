"""What our own model's parts say of each 20 ms of a recording: codec, depth of its levels, every language model.

Recordings are taken in blocks of 8 s that hear a second before them, and the language models see at most 4 s, so that
a window of a long recording can be set against a window of a short one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from audiolm.delay_pattern import HIDDEN

if TYPE_CHECKING:
    from torch import Tensor

    from audiolm.codec import SoundStream
    from audiolm.delayed import DelayedStage
    from audiolm.pipeline import Parts
    from audiolm.stages import Stage

__all__ = ["COLUMNS", "FRAME_SAMPLES", "TokenTable", "agreement", "depth_profile", "grid", "surprise", "token_table"]

FRAME_SAMPLES = 320
"""One frame of the codec, 20 ms at 16 kHz; a semantic token lasts two."""
BLOCK_FRAMES, LEAD_FRAMES = 400, 50
SPAN_FRAMES = 200
"""What a language model sees at once; spans slide by half, so most frames have 2 to 4 s before them."""
GRID_STEP, GRID_FRAMES = 40, 100
DEPTHS = (1, 4, 8, 12)
SHORTEST_FRAMES = 10
COLUMNS: Mapping[str, str] = {
    "codec grid": "nats",
    **{f"energy left below level {depth}": "ln of share" for depth in DEPTHS},
    "coarse codes kept by one more pass": "share",
    "fine codes kept by one more pass": "share",
    "semantic stage": "nats per token",
    "semantic stage, over expected": "nats per token",
    **{
        f"{stage}{over}": "nats per code"
        for stage in (
            *(f"coarse stage level {name}" for name in ("1", "2", "3-4")),
            "fine stage",
            *(f"delayed stage level {name}" for name in ("1", "2", "3-4", "5-12")),
        )
        for over in ("", ", over expected")
    },
    "told by semantic tokens, level 1": "nats per code",
    "told by semantic tokens, levels 2-4": "nats per code",
}
"""Names and units of the numbers, in the order of the table's columns."""


class TokenTable(NamedTuple):
    """``centres``: middle of each frame in samples; ``values``: ``[frame, column]``, by :data:`COLUMNS`."""

    centres: np.ndarray
    values: np.ndarray


def surprise(logits: Tensor, codes: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Of codes ``[frame]`` under ``[frame, code]``: nats, and how many more than the model itself expected.

    What a model drew has as many nats as it expected on average; below temperature 1 or with guidance, fewer.
    """
    log_p = torch.log_softmax(logits.float(), dim=-1)
    nats = -log_p.gather(1, codes[:, None])[:, 0]
    expected = -(log_p.exp() * log_p).sum(dim=1)
    return nats.double().numpy(), (nats - expected).double().numpy()


@torch.inference_mode()
def depth_profile(codec: SoundStream, samples: Tensor) -> tuple[Tensor, np.ndarray]:
    """Codes ``[level, frame]`` of ``[time]``, and the share of a latent's energy left below each of :data:`DEPTHS`."""
    latents = codec.latents(samples[None])
    codes = codec.quantizer.encode(latents)[0]
    left, energy = latents[0].T, latents[0].square().sum(dim=0).clamp_min(1e-9)
    shares = []
    for level, chosen in enumerate(codes):
        left = left - F.embedding(chosen, codec.quantizer.codebooks[level])
        if level + 1 in DEPTHS:
            shares.append(left.square().sum(dim=1) / energy)
    return codes, torch.stack(shares, dim=1).clamp_min(1e-6).double().numpy()


def grid(codec: SoundStream, samples: np.ndarray) -> tuple[int, float]:
    """Where the frames of the codec begin, 0 to 319 samples in, and how far that place stands out, in nats.

    Sound that came out of the codec is quantised with less left over where it was cut before; elsewhere as any other.
    Found on the two loudest seconds.
    """
    loud = _loudest(samples)
    lefts = []
    for offset in range(0, FRAME_SAMPLES, GRID_STEP):
        count = (len(loud) - offset) // FRAME_SAMPLES
        _, shares = depth_profile(codec, torch.from_numpy(loud[offset : offset + count * FRAME_SAMPLES].copy()))
        lefts.append(float(np.log(shares[:, -1]).mean()))
    best = int(np.argmin(lefts))
    return best * GRID_STEP, float(np.mean(lefts) - lefts[best])


def _loudest(samples: np.ndarray) -> np.ndarray:
    """The stretch of :data:`GRID_FRAMES` with the most energy; it starts at a whole frame."""
    power = np.add.reduceat(samples.astype(np.float64) ** 2, np.arange(0, len(samples), FRAME_SAMPLES))
    if len(power) <= GRID_FRAMES:
        return samples
    start = int(np.argmax(np.convolve(power, np.ones(GRID_FRAMES), mode="valid"))) * FRAME_SAMPLES
    return samples[start : start + GRID_FRAMES * FRAME_SAMPLES]


@torch.inference_mode()
def agreement(codec: SoundStream, codes: Tensor) -> np.ndarray:
    """Which codes ``[level, frame]`` come back after one more pass through the codec, bool.

    Our codec of magnitudes is asked for magnitudes only: rebuilding a phase would cost more than all else together.
    """
    if codec.config.front_end == "magnitude":
        spectrum = codec.decoder.log_magnitudes(codec.quantizer.decode(codes[None]))  # type: ignore[operator]
        again = codec.quantizer.encode(codec.encoder.from_log_magnitudes(spectrum))[0]  # type: ignore[operator]
    else:
        again = codec.encode(codec.decode(codes[None]))[0]
    return (again[:, : codes.shape[1]] == codes).numpy()


def token_table(parts: Parts, samples: np.ndarray) -> TokenTable:
    """The whole table of one segment at 16 kHz, float32 ``[time]``; empty where it is shorter than 0.2 s."""
    block, lead = BLOCK_FRAMES * FRAME_SAMPLES, LEAD_FRAMES * FRAME_SAMPLES
    centres: list[np.ndarray] = [np.zeros(0)]
    values: list[np.ndarray] = [np.zeros((0, len(COLUMNS)))]
    with torch.inference_mode():
        for start in range(0, len(samples), block):
            first = max(0, start - lead)
            piece = samples[first : start + block + FRAME_SAMPLES]
            if len(piece) < (SHORTEST_FRAMES + 1) * FRAME_SAMPLES:
                continue
            offset, height = grid(parts.codec, piece)  # type: ignore[arg-type]
            frames = (len(piece) - offset) // FRAME_SAMPLES
            rows = _rows(parts, piece[offset : offset + frames * FRAME_SAMPLES].copy(), height)
            middle = first + offset + (np.arange(frames) + 0.5) * FRAME_SAMPLES
            new = (middle >= start) & (middle < start + block)
            centres.append(middle[new])
            values.append(rows[new])
    return TokenTable(np.concatenate(centres), np.concatenate(values))


def _rows(parts: Parts, samples: np.ndarray, height: float) -> np.ndarray:
    """All columns of one block whose frames begin with its first sample, ``[frame, column]``."""
    sound = torch.from_numpy(samples)
    codes, left = depth_profile(parts.codec, sound)  # type: ignore[arg-type]
    kept = agreement(parts.codec, codes).astype(np.float64)  # type: ignore[arg-type]
    frames, n_coarse = codes.shape[1], parts.coarse.config.layout.n_coarse
    semantic = parts.tokenizer.encode(sound[None])[0]
    columns = [np.full(frames, height), *np.log(left).T, kept[:n_coarse].mean(axis=0), kept[n_coarse:].mean(axis=0)]
    columns += [column.repeat(2)[:frames] for column in _semantic(parts.semantic, semantic.numpy())]
    columns += _coarse(parts.coarse, semantic.numpy(), codes[:n_coarse].numpy())
    columns += _fine(parts.fine, codes.numpy(), n_coarse)
    columns += _delayed(parts.delayed, semantic, codes)
    return np.stack(columns, axis=1)


def _spans(frames: int) -> Iterator[tuple[int, int, int]]:
    """``(start, first frame to score, end)`` of spans that slide by half."""
    done = 0
    while done < frames:
        start = max(0, done - SPAN_FRAMES // 2)
        end = min(start + SPAN_FRAMES, frames)
        yield start, done, end
        done = end


def _over_spans(frames: int, told: Callable[[int, int], Sequence[tuple[Tensor, Tensor]]]) -> np.ndarray:
    """Nats and nats over expected of every code, ``[2, level, frame]``; ``told`` gives what a span foretold."""
    pieces = []
    for start, done, end in _spans(frames):
        found = np.array([surprise(logits, codes) for logits, codes in told(start, end)])  # [level, 2, frame]
        pieces.append(found.transpose(1, 0, 2)[..., done - start :])
    return np.concatenate(pieces, axis=2)


def _grouped(found: np.ndarray, groups: Sequence[slice]) -> list[np.ndarray]:
    """Columns: for each group of levels the mean nats, then the mean over expected."""
    return [column for group in groups for column in found[:, group].mean(axis=1)]


def _semantic(stage: Stage, tokens: np.ndarray) -> list[np.ndarray]:
    nothing = np.zeros(0, dtype=np.int64)
    found = _over_spans(len(tokens), lambda start, end: stage.foretold(nothing, tokens[None, start:end]))
    return _grouped(found, [slice(0, 1)])


def _coarse(stage: Stage, semantic: np.ndarray, codes: np.ndarray) -> list[np.ndarray]:
    found = _over_spans(
        codes.shape[1],
        lambda start, end: stage.foretold(semantic[start // 2 : -(-end // 2)], codes[:, start:end]),
    )
    return _grouped(found, [slice(0, 1), slice(1, 2), slice(2, None)])


def _fine(stage: Stage | None, codes: np.ndarray, n_coarse: int) -> list[np.ndarray]:
    """In the separate blocks that the stage was trained on."""
    if stage is None:
        raise ValueError("this model has no fine stage; token evidence is for models with all three")
    pieces = []
    for at in range(0, codes.shape[1], stage.config.window):
        here = codes[:, at : at + stage.config.window]
        pieces.append(np.array([surprise(*told) for told in stage.foretold(here[:n_coarse], here[n_coarse:])]))
    return _grouped(np.concatenate(pieces, axis=2).transpose(1, 0, 2), [slice(None)])


def _delayed(stage: DelayedStage | None, semantic: Tensor, codes: Tensor) -> list[np.ndarray]:
    """With semantic tokens, and what they tell of the coarse codes: nats without them less nats with them."""
    if stage is None:
        raise ValueError("this model has no delayed decoder; token evidence is for models that have one")
    told: Callable[..., list[tuple[Tensor, Tensor]]] = stage.foretold
    found, without = (
        _over_spans(
            codes.shape[1],
            lambda start, end, tokens=tokens: told(tokens[start // 2 : -(-end // 2)], codes[:, start:end]),
        )
        for tokens in (semantic, torch.full_like(semantic, HIDDEN))
    )
    gain = without[0] - found[0]
    groups = [slice(0, 1), slice(1, 2), slice(2, 4), slice(4, None)]
    return [*_grouped(found, groups), gain[0], gain[1:4].mean(axis=0)]
