"""Encode and decode a stream as it arrives, in any chunks, with the result of one offline call.

The codec's own networks run; only what looks back keeps its past between calls:

convolution            the inputs its kernel still reaches back to
transposed convolution its last input, whose upsampled tail overlaps the next
analysis transform     the samples that the next window shares with this one
overlap-add, phase     the sum of frames that later frames still add to

so memory is constant, whatever the length. A decoder with a look-ahead gives its samples that much later.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.codec.conv import CausalContext, CausalConv1d, CausalConvTranspose1d
from audiolm.codec.phase import PhaseReconstruction, PhaseState
from audiolm.codec.soundstream import SoundStream
from audiolm.codec.spectral import OverlapAdd

__all__ = ["StreamingDecoder", "StreamingEncoder"]


class StreamingEncoder:
    """Samples in, codes out as frames fill up. Weights are those of ``codec`` at the time of construction."""

    def __init__(self, codec: SoundStream, n_levels: int | None = None) -> None:
        if n_levels is not None and not 1 <= n_levels <= codec.n_levels:
            raise ValueError(f"n_levels is {n_levels}; the codec has 1 to {codec.n_levels}")
        self._codec, self._n_levels = codec, n_levels or codec.n_levels
        self._network, self._parts = _streaming(codec.encoder)
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
        self._network, self._parts = _streaming(codec.decoder)
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
        tails = [part.finish() for part in self._parts if isinstance(part, (_Overlap, _Phase))]
        _reset(self._parts)
        return self._nothing if not tails or tails[0] is None else tails[0]


class _Convolution(nn.Module):
    """A causal convolution that remembers the inputs its kernel still reaches."""

    def __init__(self, offline: CausalConv1d) -> None:
        super().__init__()
        self.offline = offline
        self.past: Tensor | None = None
        conv: Any = offline.conv
        self.weight, self.bias = conv.weight.detach(), conv.bias

    def forward(self, x: Tensor) -> Tensor:
        past = x.new_zeros(*x.shape[:2], self.offline.left) if self.past is None else self.past
        x = torch.cat([past, x], dim=-1)
        self.past = x[..., x.shape[-1] - self.offline.left :].clone()
        return F.conv1d(x, self.weight, self.bias, self.offline.stride, 0, self.offline.dilation)


class _Transposed(nn.Module):
    """A transposed convolution that remembers its last input."""

    def __init__(self, offline: CausalConvTranspose1d) -> None:
        super().__init__()
        self.offline = offline
        self.past: Tensor | None = None
        conv: Any = offline.conv
        self.weight, self.bias = conv.weight.detach(), conv.bias

    def forward(self, x: Tensor) -> Tensor:
        past = x.new_zeros(*x.shape[:2], 1) if self.past is None else self.past
        x = torch.cat([past, x], dim=-1)
        self.past = x[..., -1:].clone()
        stride = self.offline.stride
        y = F.conv_transpose1d(x, self.weight, self.bias, stride)
        return y[..., stride:-stride]


class _Context(nn.Module):
    """The last samples in place of zeros."""

    def __init__(self, offline: CausalContext) -> None:
        super().__init__()
        self.offline = offline
        self.past: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        past = x.new_zeros(*x.shape[:-1], self.offline.left) if self.past is None else self.past
        x = torch.cat([past, x], dim=-1)
        self.past = x[..., x.shape[-1] - self.offline.left :].clone()
        return x


class _Overlap(nn.Module):
    """Overlap-add that holds back the samples which later frames still add to."""

    def __init__(self, offline: OverlapAdd) -> None:
        super().__init__()
        self.offline = offline
        self.size = offline.size
        self.past: _Tail | None = None

    def forward(self, frames: Tensor) -> Tensor:
        total, norm = self.offline.added(frames)
        overlap = self.offline.overlap
        past = self.past or _Tail(total.new_zeros(len(total), overlap), norm.new_zeros(1, overlap), overlap)
        total[:, :overlap] += past.total
        norm[:, :overlap] += past.norm
        cut = min(past.silent, total.shape[1] - overlap)  # what lies before the recording
        self.past = _Tail(total[:, -overlap:].clone(), norm[:, -overlap:].clone(), past.silent - cut)
        return total[:, cut:-overlap] / norm[:, cut:-overlap].clamp_min(1e-3)

    def finish(self) -> Tensor | None:
        if self.past is None:
            return None
        return (self.past.total / self.past.norm.clamp_min(1e-3))[:, self.past.silent :]


@dataclass(frozen=True, slots=True)
class _Tail:
    """``total``, ``norm``: sums over the overlap; ``silent``: samples still to come that lie before the recording."""

    total: Tensor
    norm: Tensor
    silent: int


class _Phase(nn.Module):
    """Phase reconstruction that holds back what its look-ahead still changes."""

    def __init__(self, offline: PhaseReconstruction) -> None:
        super().__init__()
        self.offline = offline
        self.past: PhaseState | None = None
        self.silent = offline.delay

    def forward(self, magnitudes: Tensor) -> Tensor:
        if self.past is None:
            self.past, self.silent = self.offline.start(len(magnitudes), magnitudes), self.offline.delay
        return self._heard(self.offline.push(self.past, magnitudes))

    def finish(self) -> Tensor | None:
        return None if self.past is None else self._heard(self.offline.finish(self.past))

    def _heard(self, samples: Tensor) -> Tensor:
        """Without the first ``delay`` samples of the stream, which lie before the recording."""
        cut = min(self.silent, samples.shape[1])
        self.silent -= cut
        return samples[:, cut:]


_WITH_PAST: dict[type, Any] = {
    CausalConv1d: _Convolution,
    CausalConvTranspose1d: _Transposed,
    CausalContext: _Context,
    OverlapAdd: _Overlap,
}


def _streaming(network: nn.Module) -> tuple[nn.Module, list[Any]]:
    """``network`` with every part that looks back exchanged for one with a past; weights are shared, not copied."""
    parts: list[Any] = []

    def twin(module: nn.Module) -> nn.Module:
        if type(module) in _WITH_PAST:
            parts.append(_WITH_PAST[type(module)](module))
            return parts[-1]
        other = copy.copy(module)
        other.__dict__["_modules"] = {name: child and twin(child) for name, child in module.named_children()}
        for name, value in vars(module).items():
            if isinstance(value, PhaseReconstruction):
                parts.append(_Phase(value))
                other.__dict__[name] = parts[-1]
        return other

    return twin(network).eval(), parts


def _reset(parts: list[Any]) -> None:
    for part in parts:
        part.past = None
