"""Inference twins of the codec's networks: they keep their past between calls, and run faster than the originals.

:func:`incremental` builds, from an encoder or a decoder, the same network with every part that looks back exchanged:

convolution            keeps the inputs its kernel still reaches back to
transposed convolution keeps the tail of its last output, which overlaps the next
analysis transform     keeps the samples that the next window shares with this one
overlap-add, phase     keep the sum of frames that later frames still add to

Two chunks in turn give what one call on both would, within rounding. Weight normalisation is folded once. Activations
``[batch, channel, time]`` lie in memory with the channels innermost, so that 1x1, strided and transposed convolutions
are plain matrix products on views, and dilated ones meet the layout that oneDNN's channels-last kernels want.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.codec.conv import CausalContext, CausalConv1d, CausalConvTranspose1d, ResidualUnit
from audiolm.codec.phase import PhaseReconstruction, PhaseState
from audiolm.codec.spectral import OverlapAdd

__all__ = ["LOST", "Incremental", "another", "incremental"]

LOST = object()
"""In place of a past that there will not be."""


class Incremental(nn.Module):
    """A part with a past: ``past`` is None before the first call; ``None`` again starts a new stream.

    Where a relay has set ``inbox`` and ``outbox`` (:mod:`audiolm.codec.relay`), the past of each call comes from the
    twin with the chunk before and goes to the twin with the next one.
    """

    past: Any = None
    inbox: SimpleQueue[Any] | None = None
    outbox: SimpleQueue[Any] | None = None

    def taken(self) -> Any:
        """The past of this call."""
        if self.inbox is None:
            return self.past
        past = self.inbox.get()
        if past is LOST:
            raise RuntimeError("another piece of this recording could not be computed")
        return past

    def left_behind(self, past: Any) -> None:
        """``past`` is that of the next call."""
        if self.outbox is None:
            self.past = past
        else:
            self.outbox.put(past)

    def finish(self) -> Tensor | None:
        """What is held back, or None where nothing is."""
        return None


def incremental(network: nn.Module) -> tuple[nn.Module, list[Incremental]]:
    """Twin of ``network`` and its parts with a past. Weights are those of now; the network itself is not touched."""
    parts: list[Incremental] = []

    def twin(module: nn.Module) -> nn.Module:
        if type(module) in _TWINS:
            exchanged = _TWINS[type(module)](module)
            parts.extend(part for part in exchanged.modules() if isinstance(part, Incremental))
            return exchanged
        other = copy.copy(module)
        other.__dict__["_modules"] = {name: twin(child) for name, child in module.named_children()}
        for name, value in vars(module).items():
            if isinstance(value, PhaseReconstruction):
                parts.append(_Phase(value))
                other.__dict__[name] = parts[-1]
        return other

    with torch.no_grad():
        return twin(network).eval(), parts


def another(twin: nn.Module) -> tuple[nn.Module, list[Incremental]]:
    """A second twin with the same folded weights and a past of its own, cheap enough for every call."""
    parts: list[Incremental] = []

    def copied(module: nn.Module) -> nn.Module:
        other = copy.copy(module)
        if isinstance(other, Incremental):
            other.past = None
            parts.append(other)
        other.__dict__["_modules"] = {name: copied(child) for name, child in module.named_children()}
        for name, value in vars(module).items():
            if isinstance(value, Incremental):
                other.__dict__[name] = copied(value)
        return other

    return copied(twin), parts


class _Convolution(Incremental):
    """Causal convolution; strided ones have a kernel of twice the stride, plain ones any."""

    def __init__(self, offline: CausalConv1d) -> None:
        super().__init__()
        conv: Any = offline.conv
        weight = conv.weight.detach()  # [output, input, kernel]
        self.stride, self.dilation, self.left = offline.stride, offline.dilation, offline.left
        self.kernel, self.bias = weight.shape[2], conv.bias.detach()
        if self.stride > 1 and (self.kernel != 2 * self.stride or self.dilation != 1):
            raise ValueError(f"kernel {self.kernel} of a convolution with stride {self.stride}; it must be twice that")
        self.flat = weight.transpose(1, 2).flatten(1).contiguous()  # [output, kernel * input]
        self.image = weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolved(self.joined(x))

    def joined(self, x: Tensor) -> Tensor:
        """``[batch, left + time, input]``: the past and ``x``, which becomes the past; a copy where there is a past."""
        y = x.transpose(1, 2)
        if self.left:
            past = self.taken()
            past = y.new_zeros(y.shape[0], self.left, y.shape[2]) if past is None else past
            y = torch.cat([past, y], dim=1)
            self.left_behind(y[:, y.shape[1] - self.left :].clone())
        return y

    def convolved(self, y: Tensor) -> Tensor:
        """``[batch, output, time]`` of what :meth:`joined` gave."""
        if self.stride > 1:
            blocks = y.reshape(y.shape[0], -1, self.stride * y.shape[2])  # kernel: this block and the one before
            first, second = self.flat.chunk(2, dim=1)
            return (F.linear(blocks[:, :-1], first, self.bias) + F.linear(blocks[:, 1:], second)).transpose(1, 2)
        if self.kernel == 1:
            return F.linear(y, self.flat, self.bias).transpose(1, 2)
        if y.shape[2] == 1:
            return F.linear(y[..., 0].unfold(1, self.kernel, self.dilation), self.flat, self.bias).transpose(1, 2)
        return F.conv2d(y.transpose(1, 2).unsqueeze(2), self.image, self.bias, 1, 0, (1, self.dilation)).squeeze(2)


class _Unit(nn.Module):
    """A residual unit that activates in place: the copies it works on are its own."""

    def __init__(self, offline: ResidualUnit) -> None:
        super().__init__()
        self.dilated, self.pointwise = _Convolution(offline.dilated), _Convolution(offline.pointwise)

    def forward(self, x: Tensor) -> Tensor:
        y = self.dilated.convolved(F.elu_(self.dilated.joined(x)))
        return self.pointwise(F.elu_(y)).add_(x)


class _Transposed(Incremental):
    """Transposed convolution with a kernel of twice the stride: one product, halves overlapped and added."""

    def __init__(self, offline: CausalConvTranspose1d) -> None:
        super().__init__()
        conv: Any = offline.conv
        weight = conv.weight.detach()  # [input, output, kernel]
        self.stride, self.bias = offline.stride, conv.bias.detach()
        self.flat = weight.permute(2, 1, 0).flatten(0, 1).contiguous()  # [kernel * output, input]

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x.transpose(1, 2), self.flat)  # [batch, time, kernel * output]
        head, tail = y.chunk(2, dim=2)
        past = self.taken()
        self.left_behind(tail[:, -1:].clone())
        if past is not None:
            head[:, :1] += past
        head[:, 1:] += tail[:, :-1]
        return (head.unflatten(2, (self.stride, -1)) + self.bias).flatten(1, 2).transpose(1, 2)


class _Context(Incremental):
    """The last samples in place of zeros."""

    def __init__(self, offline: CausalContext) -> None:
        super().__init__()
        self.left = offline.left

    def forward(self, x: Tensor) -> Tensor:
        past = self.taken()
        x = torch.cat([x.new_zeros(*x.shape[:-1], self.left) if past is None else past, x], dim=-1)
        self.left_behind(x[..., x.shape[-1] - self.left :].clone())
        return x


@dataclass(frozen=True, slots=True)
class _Tail:
    """``total``, ``norm``: sums over the overlap; ``silent``: samples still to come that lie before the recording."""

    total: Tensor
    norm: Tensor
    silent: int


class _Overlap(Incremental):
    """Overlap-add that holds back the samples which later frames still add to."""

    past: _Tail | None = None

    def __init__(self, offline: OverlapAdd) -> None:
        super().__init__()
        self.offline = offline
        self.size = offline.size

    def forward(self, frames: Tensor) -> Tensor:
        total, norm = self.offline.added(frames)
        overlap = self.offline.overlap
        past = self.past or _Tail(total.new_zeros(len(total), overlap), norm.new_zeros(1, overlap), overlap)
        total[:, :overlap] += past.total
        norm[:, :overlap] += past.norm
        cut = min(past.silent, total.shape[1] - overlap)
        self.past = _Tail(total[:, -overlap:].clone(), norm[:, -overlap:].clone(), past.silent - cut)
        return total[:, cut:-overlap] / norm[:, cut:-overlap].clamp_min(1e-3)

    def finish(self) -> Tensor | None:
        if self.past is None:
            return None
        return (self.past.total / self.past.norm.clamp_min(1e-3))[:, self.past.silent :]


class _Phase(Incremental):
    """Phase reconstruction that holds back what its look-ahead still changes."""

    past: PhaseState | None = None

    def __init__(self, offline: PhaseReconstruction) -> None:
        super().__init__()
        self.offline = offline
        self.delay = offline.delay
        self.silent = 0

    def forward(self, magnitudes: Tensor) -> Tensor:
        if self.past is None:
            self.past, self.silent = self.offline.start(len(magnitudes), magnitudes), self.delay
        return self._heard(self.offline.push(self.past, magnitudes))

    def finish(self) -> Tensor | None:
        return None if self.past is None else self._heard(self.offline.finish(self.past))

    def _heard(self, samples: Tensor) -> Tensor:
        """Without the first ``delay`` samples of the stream, which lie before the recording."""
        cut = min(self.silent, samples.shape[1])
        self.silent -= cut
        return samples[:, cut:]


_TWINS: dict[type, type[Any]] = {
    CausalConv1d: _Convolution,
    ResidualUnit: _Unit,
    CausalConvTranspose1d: _Transposed,
    CausalContext: _Context,
    OverlapAdd: _Overlap,
}
