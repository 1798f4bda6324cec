"""Phase for a magnitude spectrogram, frame by frame: peaks advance, then a few projections with a short look-ahead.

A new frame starts from the phase that the sinusoids at its spectral peaks have reached (single-pass inversion,
Beauregard, Harish and Wyse 2015). It is then refined together with the frames that overlap it by alternating
projections (Griffin and Lim 1984), and settled once ``look_ahead`` later frames have been heard (real-time iterative
inversion with look-ahead, Zhu, Beauregard and Wyse 2007). State is a few frames, so a stream of any length is
decoded as it arrives, with the same result as at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["PhaseReconstruction", "PhaseState"]

OVERLAP = 4
"""Frames that cover a sample: the window is four steps long, so squared Hann windows add up to a constant."""
SQUARED_SUM = 1.5
QUIET = 1e-8


@dataclass(slots=True)
class PhaseState:
    """What carries over between calls; ``[batch, ...]``.

    ``settled``: overlap-added signal of the settled frames, from the sample that comes out next; ``pending``: windowed
    estimates ``[batch, frame, window]`` of frames not settled yet; ``magnitudes``: theirs, ``[batch, frame, bin]``;
    ``phase``: of the newest frame, in radians.
    """

    settled: Tensor
    pending: Tensor
    magnitudes: Tensor
    phase: Tensor


class PhaseReconstruction:
    """Turns magnitudes ``[batch, bin, frame]`` of a causal short-time transform (Hann window, step a quarter of it,
    first frame ending with the first step) into samples ``[batch, frame * step]``."""

    def __init__(self, window: int, *, look_ahead: int = 3, iterations: int = 4) -> None:
        if window % OVERLAP or look_ahead < 0 or iterations < 1:
            raise ValueError(
                f"window {window}, look-ahead {look_ahead}, {iterations} iterations: the window must be a multiple of"
                f" {OVERLAP}, the look-ahead 0 or more and iterations 1 or more"
            )
        self.window, self.step = window, window // OVERLAP
        self.look_ahead, self.iterations = look_ahead, iterations

    @property
    def delay(self) -> int:
        """Samples of later signal that a sample waits for: the overlapping windows and the look-ahead."""
        return self.window - self.step + self.look_ahead * self.step

    def start(self, batch: int, like: Tensor) -> PhaseState:
        """State before the first frame."""
        bins, frames = self.window // 2 + 1, self.look_ahead
        return PhaseState(
            settled=like.new_zeros(batch, self.window + frames * self.step),
            pending=like.new_zeros(batch, frames, self.window),
            magnitudes=like.new_zeros(batch, frames, bins),
            phase=like.new_zeros(batch, bins),
        )

    def __call__(self, magnitudes: Tensor) -> Tensor:
        """All frames at once."""
        state = self.start(len(magnitudes), magnitudes)
        heard = self.push(state, magnitudes)
        tail = self.finish(state)
        return torch.cat([heard, tail], dim=1)[:, self.delay :]

    @torch.no_grad()
    def push(self, state: PhaseState, magnitudes: Tensor) -> Tensor:
        """Samples ``[batch, frame * step]`` that lie ``delay`` samples before the end of what was pushed."""
        pieces = [self._advance(state, frame) for frame in magnitudes.unbind(dim=2)]
        return torch.cat(pieces, dim=1) if pieces else state.settled[:, :0]

    @torch.no_grad()
    def finish(self, state: PhaseState) -> Tensor:
        """The last ``delay`` samples, as if silence followed."""
        silence = torch.zeros_like(state.phase)
        pieces = [self._advance(state, silence) for _ in range(self.look_ahead)]
        return torch.cat([*pieces, state.settled[:, : self.window - self.step]], dim=1)

    def _advance(self, state: PhaseState, magnitude: Tensor) -> Tensor:
        """Take in one frame ``[batch, bin]``, settle the oldest pending one, give the step that is then complete."""
        hann = torch.hann_window(self.window, device=magnitude.device, dtype=magnitude.dtype)
        phase = _advanced_phase(magnitude, state.phase, self.step, self.window)
        newest = torch.fft.irfft(torch.polar(magnitude, phase), n=self.window) * hann / SQUARED_SUM
        frames = torch.cat([state.pending, newest.unsqueeze(1)], dim=1)
        wanted = torch.cat([state.magnitudes, magnitude.unsqueeze(1)], dim=1)
        for _ in range(self.iterations):
            mixture = state.settled + self._overlap_add(frames)
            spectrum = torch.fft.rfft(mixture.unfold(1, self.window, self.step) * hann)
            spectrum = wanted * spectrum / spectrum.abs().clamp_min(QUIET)
            frames = torch.fft.irfft(spectrum, n=self.window) * hann / SQUARED_SUM
        state.phase = spectrum[:, -1].angle()
        state.settled[:, : self.window] += frames[:, 0]
        finished = state.settled[:, : self.step].clone()
        state.settled = F.pad(state.settled[:, self.step :], (0, self.step))
        state.pending, state.magnitudes = frames[:, 1:], wanted[:, 1:]
        return finished

    def _overlap_add(self, frames: Tensor) -> Tensor:
        """``[batch, frame, window]`` to samples, one step apart."""
        count = frames.shape[1]
        length = self.window + (count - 1) * self.step
        return F.fold(frames.transpose(1, 2), (1, length), (1, self.window), stride=(1, self.step))[:, 0, 0]


def _advanced_phase(magnitude: Tensor, phase: Tensor, step: int, window: int) -> Tensor:
    """Phase one step later: each bin follows its nearest spectral peak, with alternating sign away from it."""
    batch, bins = magnitude.shape
    places = torch.arange(bins, device=magnitude.device)
    low, middle, high = magnitude[:, :-2], magnitude[:, 1:-1], magnitude[:, 2:]
    is_peak = F.pad((middle > low) & (middle >= high), (1, 1))
    curvature = (low - 2 * middle + high).clamp(max=-QUIET)
    offset = F.pad((0.5 * (low - high) / curvature).clamp(-0.5, 0.5), (1, 1))
    far = 4 * bins
    left = torch.where(is_peak, places, -far).cummax(dim=1).values
    right = torch.where(is_peak, places, far).flip(1).cummin(dim=1).values.flip(1)
    nearest = torch.where(places - left <= right - places, left, right)
    alone = (nearest < 0) | (nearest >= bins)  # a frame without any peak
    nearest = torch.where(alone, places, nearest)
    speed = 2 * math.pi * step / window * (nearest + offset.gather(1, nearest))
    sign = math.pi * ((places - nearest) % 2)
    return torch.remainder(phase.gather(1, nearest) + speed + sign, 2 * math.pi)
