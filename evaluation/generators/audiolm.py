"""AudioLM as a system under test; the one file of the harness that knows the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from audiolm.audio import AudioClip
from evaluation.protocols import Generator, RenderRequest

if TYPE_CHECKING:
    from audiolm import AudioLM, SamplingOptions
    from audiolm.sampling import Pauses
    from audiolm.stages import Stage

__all__ = ["GENERATOR", "AudioLMGenerator", "load_model", "sampling_options"]

STAGES = ("semantic", "coarse", "fine")
FRAME_SAMPLES = 640
"""One semantic token, 40 ms at 16 kHz."""


class AudioLMGenerator:
    """A checkpoint as a :class:`evaluation.protocols.Generator`."""

    name = "audiolm"
    roles: tuple[str, ...] = ("codec", "codec-8", "codec-4", "acoustic", "continuation", "unconditional")

    def __init__(self, model: AudioLM) -> None:
        self._model = model
        self.roles = tuple(role for role in self.roles if _levels_of(role) < model.parts.levels)
        self.sample_rate_hz = int(model.sample_rate_hz)

    def render(self, role: str, requests: Sequence[RenderRequest]) -> list[AudioClip]:
        """One clip per request; a continuation is without its prompt. ``requests`` come at the model's rate."""
        seeds = [request.seed for request in requests]
        if role in ("codec", "codec-8", "codec-4"):
            levels = _levels_of(role) or None
            return self._clips(self._model.resynthesise([self._samples(request) for request in requests], levels))
        if role == "acoustic":
            return self._clips(self._model.acoustic_generation([self._samples(request) for request in requests], seeds))
        if role == "continuation":
            prompts = [request.recording.cut(0.0, request.prompt_s).samples for request in requests]
            return self._clips(self._model.continuation(prompts, _one_length(requests), seeds)) if requests else []
        if role == "unconditional":
            return self._clips(self._model.unconditional(len(seeds), _one_length(requests), seeds)) if requests else []
        raise ValueError(f"audiolm has no role {role!r}; use one of {', '.join(self.roles)}")

    def describe(self) -> Mapping[str, object]:
        """The checkpoint's own description: digest, parameters, options."""
        return dict(self._model.describe())

    @property
    def codebook_size(self) -> int:
        return int(self._model.parts.codec.codebook_size)

    @property
    def n_semantic_tokens(self) -> int:
        return int(self._model.parts.tokenizer.n_tokens)

    def codec_codes(self, samples: np.ndarray) -> np.ndarray:
        """Codes of one recording at the model's rate, int64 ``[level, frame]``, at the levels that the stages use."""
        import torch

        parts = self._model.parts
        with torch.inference_mode():
            codes = parts.codec.encode(torch.from_numpy(np.array(samples))[None].to(parts.device), parts.levels)
        return codes[0].cpu().numpy()

    def semantic_tokens(self, samples: np.ndarray) -> np.ndarray:
        """Semantic tokens of one recording at the model's rate, int64 ``[frame]``, one per 40 ms."""
        import torch

        from audiolm.semantic.tokenizer import encode_long

        parts = self._model.parts
        return encode_long(parts.tokenizer, torch.from_numpy(np.array(samples)).to(parts.device)).cpu().numpy()

    def token_nats(self, samples: np.ndarray) -> Mapping[str, np.ndarray]:
        """Nats of every token of one recording by stage, ``[level, frame]`` (:class:`HasLikelihood`).

        Windows as in sampling: semantic and coarse slide by half a window, so that every frame but the first half
        window's sees at least half a window before it; fine stands in separate blocks.
        """
        parts = self._model.parts
        whole = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES))
        semantic, codes = self.semantic_tokens(whole), self.codec_codes(whole)
        n_coarse = parts.coarse.config.layout.n_coarse
        found = {
            "semantic": _semantic_nats(parts.semantic, semantic),
            "coarse": _coarse_nats(parts.coarse, semantic, codes[:n_coarse]),
        }
        if parts.fine is not None:
            found["fine"] = _fine_nats(parts.fine, codes[:n_coarse], codes[n_coarse:])
        return found

    def _samples(self, request: RenderRequest) -> np.ndarray:
        return request.recording.samples

    def _clips(self, outputs: Sequence[np.ndarray]) -> list[AudioClip]:
        return [AudioClip.from_array(np.asarray(samples), self.sample_rate_hz) for samples in outputs]


def _spans(frames: int, window: int) -> list[tuple[int, int, int]]:
    """``(start, first frame to score, end)`` of windows that slide by their half."""
    spans, done = [], 0
    while done < frames:
        start = max(0, done - window // 2)
        start += start % 2
        spans.append((start, done, min(start + window, frames)))
        done = spans[-1][2]
    return spans


def _semantic_nats(stage: Stage, tokens: np.ndarray) -> np.ndarray:
    if stage.config.deduplicate:
        from audiolm.tokens import deduplicate

        tokens = deduplicate(tokens).tokens
    nothing = np.zeros(0, dtype=np.int64)
    pieces = [
        stage.nats(nothing, tokens[None, start:end])[:, done - start :]
        for start, done, end in _spans(len(tokens), stage.config.window)
    ]
    return np.concatenate(pieces, axis=1)


def _coarse_nats(stage: Stage, semantic: np.ndarray, codes: np.ndarray) -> np.ndarray:
    pieces = []
    for start, done, end in _spans(codes.shape[1], stage.config.window):
        condition = semantic[start // 2 : -(-end // 2)]
        if stage.config.deduplicate:
            from audiolm.tokens import deduplicate

            condition = deduplicate(condition).tokens
        pieces.append(stage.nats(condition, codes[:, start:end])[:, done - start :])
    return np.concatenate(pieces, axis=1)


def _fine_nats(stage: Stage, coarse: np.ndarray, fine: np.ndarray) -> np.ndarray:
    window = stage.config.window
    pieces = [
        stage.nats(coarse[:, at : at + window], fine[:, at : at + window]) for at in range(0, fine.shape[1], window)
    ]
    return np.concatenate(pieces, axis=1)


def _levels_of(role: str) -> int:
    """The codec levels that a role's name asks for; 0 where it names none."""
    family, _, levels = role.partition("-")
    return int(levels) if family == "codec" and levels else 0


def load_model(checkpoint: str, device: str, precision: str) -> AudioLM:
    """The model itself, for ``generate --mode``.

    Raises:
        ValueError: the checkpoint is not there or not sound, or the device or precision is not to be had.
    """
    from audiolm import AudioLM

    return AudioLM.from_pretrained(checkpoint, device=device, precision=precision)  # type: ignore[arg-type]


def sampling_options(
    defaults: SamplingOptions,
    temperature: Sequence[float] | None,
    top_k: Sequence[int] | None,
    top_p: Sequence[float] | None,
    passes: Sequence[int] | None,
    guidance: float | None = None,
    recall: float | None = None,
    longest_pause_s: float | None = None,
) -> SamplingOptions:
    """``defaults``, the model's own, with what is given here: one value per stage (semantic, coarse, fine), or one
    for all; ``top_k`` 0 and ``top_p`` 1 keep every token, ``longest_pause_s`` 0 allows any pause.

    Raises:
        ValueError: two values or more than three, a value out of range, or pauses that the model cannot tell.
    """
    from audiolm.sampling import Unmasking

    columns = (("temperature", temperature), ("top_k", top_k), ("top_p", top_p))
    given = {name: _per_stage(name, values) for name, values in columns}
    stages = {}
    for index, stage in enumerate(STAGES):
        chosen: dict[str, Any] = {name: values[index] for name, values in given.items() if values is not None}
        if "top_k" in chosen:
            chosen["top_k"] = int(chosen["top_k"]) or None
        if chosen.get("top_p") == 1:
            chosen["top_p"] = None
        stages[stage] = replace(getattr(defaults, stage), **chosen)
    unmasking = Unmasking(passes=tuple(passes)) if passes else defaults.unmasking
    told = defaults.guidance if guidance is None else guidance
    recalled = defaults.recall if recall is None else replace(defaults.recall, share=recall)
    pauses = defaults.pauses if longest_pause_s is None else _pauses(defaults.pauses, longest_pause_s)
    return replace(defaults, **stages, unmasking=unmasking, guidance=told, recall=recalled, pauses=pauses)


def _pauses(own: Pauses, longest_s: float) -> Pauses:
    from audiolm.stages import FRAME_RATE_HZ

    if not longest_s >= 0:
        raise ValueError(f"the longest pause is {longest_s} s; use 0 (any length) or more")
    if longest_s and not own.tokens:
        raise ValueError("this model's generation.json names no pause tokens, so pauses cannot be limited; use 0")
    return replace(own, longest=max(1, round(longest_s * FRAME_RATE_HZ["semantic"])) if longest_s else None)


def _per_stage(name: str, values: Sequence[float] | None) -> tuple[float, ...] | None:
    if values is None:
        return None
    if len(values) not in (1, 3):
        raise ValueError(f"{name} has {len(values)} values; give one, or three for {', '.join(STAGES)}")
    return tuple(values) * (3 // len(values))


def _one_length(requests: Sequence[RenderRequest]) -> float:
    lengths = {request.seconds for request in requests}
    if len(lengths) > 1:
        raise ValueError(f"clips of {sorted(lengths)} s in one batch; ask for one length at a time")
    return lengths.pop()


class _Entry:
    name = "audiolm"

    def load(self, checkpoint: str, device: str) -> Generator:
        """Load ``nano``, a folder or a hub id.

        Raises:
            ValueError: the checkpoint is not there, not ours, truncated or altered.
        """
        return AudioLMGenerator(load_model(checkpoint, device, "float32"))


GENERATOR = _Entry()
