"""AudioLM as a system under test; the one file of the harness that knows the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from audiolm.audio import AudioClip
from evaluation.protocols import Generator, RenderRequest

if TYPE_CHECKING:
    from audiolm import AudioLM

__all__ = ["GENERATOR", "AudioLMGenerator"]


class AudioLMGenerator:
    """A checkpoint as a :class:`evaluation.protocols.Generator`."""

    name = "audiolm"
    roles: tuple[str, ...] = ("codec", "acoustic", "continuation")

    def __init__(self, model: AudioLM) -> None:
        self._model = model
        self.sample_rate_hz = int(model.sample_rate_hz)

    def render(self, role: str, requests: Sequence[RenderRequest]) -> list[AudioClip]:
        """One clip per request; a continuation is without its prompt. ``requests`` come at the model's rate."""
        seeds = [request.seed for request in requests]
        if role == "codec":
            return self._clips(self._model.resynthesise([self._samples(request) for request in requests]))
        if role == "acoustic":
            return self._clips(self._model.acoustic_generation([self._samples(request) for request in requests], seeds))
        if role == "continuation":
            lengths = {request.seconds for request in requests}
            if len(lengths) > 1:
                raise ValueError(f"continuations of {sorted(lengths)} s in one batch; ask for one length at a time")
            prompts = [request.recording.cut(0.0, request.prompt_s).samples for request in requests]
            return self._clips(self._model.continuation(prompts, lengths.pop(), seeds))
        raise ValueError(f"audiolm has no role {role!r}; use one of {', '.join(self.roles)}")

    def describe(self) -> Mapping[str, object]:
        """The checkpoint's own description: digest, parameters, options."""
        return dict(self._model.describe())

    def _samples(self, request: RenderRequest) -> np.ndarray:
        return request.recording.samples

    def _clips(self, outputs: Sequence[np.ndarray]) -> list[AudioClip]:
        return [AudioClip.from_array(np.asarray(samples), self.sample_rate_hz) for samples in outputs]


class _Entry:
    name = "audiolm"

    def load(self, checkpoint: str, device: str) -> Generator:
        """Load ``nano``, a folder or a hub id.

        Raises:
            ValueError: the checkpoint is not there, not ours, truncated or altered.
        """
        from audiolm import AudioLM

        return AudioLMGenerator(AudioLM.from_pretrained(checkpoint, device=device))


GENERATOR = _Entry()
