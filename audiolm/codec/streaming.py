"""Encode and decode a stream as it arrives, in any chunks, with the result of one offline call.

The codec's networks run as their incremental twins (:mod:`audiolm.codec.incremental`), which carry contexts from call
to call, so memory is constant, whatever the length. A decoder with a look-ahead gives its samples that much later.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audiolm.codec.incremental import Incremental, incremental
from audiolm.codec.soundstream import SoundStream

__all__ = ["StreamingDecoder", "StreamingEncoder"]


class StreamingEncoder:
    """Samples in, codes out as frames fill up. Weights are those of ``codec`` at the time of construction."""

    def __init__(self, codec: SoundStream, n_levels: int | None = None) -> None:
        if n_levels is not None and not 1 <= n_levels <= codec.n_levels:
            raise ValueError(f"n_levels is {n_levels}; the codec has 1 to {codec.n_levels}")
        self._codec, self._n_levels = codec, n_levels or codec.n_levels
        self._network, self._parts = incremental(codec.encoder)
        self._waiting: Tensor | None = None

    @property
    def look_ahead(self) -> int:
        """Samples after the end of a frame that its codes wait for: none."""
        return 0

    @torch.inference_mode()
    def push(self, samples: Tensor) -> Tensor:
        """Codes ``[batch, level, frame]`` of the frames that ``[batch, time]`` completes; time may be 0."""
        if samples.ndim != 2:
            raise ValueError(f"waveform has shape {tuple(samples.shape)}; give [batch, time]")
        if self._waiting is not None:
            if len(samples) != len(self._waiting):
                raise ValueError(
                    f"batch is {len(samples)}, the stream began with {len(self._waiting)}; call finish first"
                )
            samples = torch.cat([self._waiting, samples], dim=1)
        whole = samples.shape[1] - samples.shape[1] % self._codec.hop
        self._waiting = samples[:, whole:].clone()
        if whole == 0:
            return samples.new_zeros((len(samples), self._n_levels, 0), dtype=torch.int64)
        return self._codec.quantizer.encode(self._network(samples[:, :whole]), self._n_levels)

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """Codes of the last frame, filled up with silence (no frame where none was begun); ready for a new stream."""
        waiting = self._waiting if self._waiting is not None else torch.zeros(1, 0)
        codes = self.push(waiting.new_zeros(len(waiting), -waiting.shape[1] % self._codec.hop))
        self._waiting = None
        _reset(self._parts)
        return codes


class StreamingDecoder:
    """Codes in, samples out, ``look_ahead`` samples later than they are coded."""

    def __init__(self, codec: SoundStream) -> None:
        self._codec = codec
        self._network, self._parts = incremental(codec.decoder)
        self._nothing = torch.zeros(1, 0)

    @property
    def look_ahead(self) -> int:
        """Samples of later frames that a sample waits for: 0 for the published decoder."""
        return int(getattr(self._codec.decoder, "look_ahead"))  # noqa: B009 (a module's attribute is typed as a tensor)

    @torch.inference_mode()
    def push(self, codes: Tensor) -> Tensor:
        """Samples ``[batch, time]`` that ``[batch, level, frame]`` completes; over a stream, frames x hop in all."""
        if codes.ndim == 3 and codes.shape[2] == 0:
            return torch.zeros(codes.shape[0], 0, device=codes.device)
        samples = self._network(self._codec.quantizer.decode(codes))
        self._nothing = samples[:, :0].clone()
        return samples

    @torch.inference_mode()
    def finish(self) -> Tensor:
        """The last samples, as many as the look-ahead (none before the first frame); ready for a new stream."""
        tails = [tail for tail in (part.finish() for part in self._parts) if tail is not None]
        _reset(self._parts)
        return tails[0] if tails else self._nothing


def _reset(parts: list[Incremental]) -> None:
    for part in parts:
        part.past = None
