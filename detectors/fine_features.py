"""What is left of a sound's fine structure, in numbers that forget when, how loud and through which microphone.

Learnt decoders guess what a listener would not miss: how sharply a pitch pulse stands in each band, whether phases of
neighbouring bins and frames belong together, how clean the gaps between harmonics are, at which rhythms a band's level
moves, whether tones stand at the strides of an upsampling network. Four groups of numbers per window:

- ``harmonics``: 64 ms spectrum: in bands of 250 Hz, how peaked, and how that varies;
- ``phases``: 20 ms spectrum: agreement of phase across neighbouring bins and across frames, by band of 250 Hz;
- ``rhythms``: 4 ms spectrum: each band's level changes by rate, and its likeness to the band below and to all;
- ``waveform``: residual of linear prediction in two bands: skewness, peakedness; tones at multiples of 250 Hz.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from detectors.features import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FINE_STATISTICS", "fine_statistics"]

BANDS, BAND_HZ = 30, 250.0
LONG_FFT, LONG_HOP = 1024, 256
MIDDLE_FFT, MIDDLE_HOP = 320, 128
MIDDLE_BINS = 155
SHORT_FFT, SHORT_HOP = 64, 32
RHYTHMS_HZ = (2.0, 6.0, 12.0, 22.0, 36.0, 48.0, 62.0, 80.0, 104.0, 136.0, 176.0, 226.0)
TONES_HZ = tuple(250.0 * step for step in range(1, 31))
TINY = 1e-9
FLOOR = 1e-6
FINE_STATISTICS = 5 * BANDS + 7 * BANDS + (len(RHYTHMS_HZ) + 2) * BANDS + 8 + len(TONES_HZ)
"""How many numbers there are per window."""


@cache
def _members(size: int) -> np.ndarray:
    """Share of each bin in each band, float32 ``[band, bin]``; rows add up to one."""
    band = np.floor(np.arange(size // 2 + 1) * SAMPLE_RATE_HZ / size / BAND_HZ - 0.5).astype(int)
    share = (band[None] == np.arange(BANDS)[:, None]).astype(np.float32)
    return share / np.maximum(share.sum(1, keepdims=True), 1.0)


def _spectrum(sound: Tensor, size: int, hop: int) -> Tensor:
    import torch

    taper = torch.hann_window(size)
    return torch.stft(sound, size, hop, size, taper, center=False, return_complex=True)


def _by_band(values: Tensor, size: int, first: int = 0) -> Tensor:
    """Mean over the bins of each band: ``[batch, bin, frame]``, from bin ``first`` on, to ``[batch, band, frame]``."""
    import torch

    shares = _members(size)[:, first : first + values.shape[1]]
    return torch.matmul(torch.from_numpy(np.ascontiguousarray(shares)), values)


@cache
def _rates(frames: int) -> np.ndarray:
    """Mean over the bins of each rate of change, float32 ``[bin, rate]``, of a series of 500 numbers a second."""
    rate_hz = np.arange(frames // 2 + 1) * (SAMPLE_RATE_HZ / SHORT_HOP) / frames
    edges = np.asarray([*RHYTHMS_HZ, SAMPLE_RATE_HZ / SHORT_HOP / 2 + 1])
    share = ((rate_hz[:, None] >= edges[:-1]) & (rate_hz[:, None] < edges[1:])).astype(np.float32)
    return share / np.maximum(share.sum(0, keepdims=True), 1.0)


def _power(spectrum: Tensor) -> Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def _harmonics(sound: Tensor) -> Tensor:
    """Per band, over its loud frames: log of arithmetic over geometric mean, its spread, and of peak over mean."""
    import torch

    power = _power(_spectrum(sound, LONG_FFT, LONG_HOP))
    power = power + FLOOR * power.amax(dim=(1, 2), keepdim=True) + TINY
    mean = _by_band(power, LONG_FFT)
    flatness = torch.log(mean) - _by_band(torch.log(power), LONG_FFT)
    peaked = 0.5 * (torch.log(_by_band(power.square(), LONG_FFT)) - 2 * torch.log(mean))
    loud = (mean > mean.median(dim=2, keepdim=True).values).float()
    count = loud.sum(2).clamp_min(1.0)

    def of(values: Tensor, where: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
        centre = (values * where).sum(2) / number
        return centre, ((values - centre.unsqueeze(2)).square() * where).sum(2).div(number).sqrt()

    quiet = 1.0 - loud
    return torch.cat(
        [*of(flatness, loud, count), *of(peaked, loud, count), of(flatness, quiet, quiet.sum(2).clamp_min(1.0))[0]], 1
    )


def _phases(sound: Tensor) -> Tensor:
    """Agreement of phase over frequency, over time and over both, weighted by magnitude, and its spread over frames."""
    import torch

    spectrum = _spectrum(sound, MIDDLE_FFT, MIDDLE_HOP)[:, :MIDDLE_BINS]
    magnitude = _power(spectrum).sqrt() + TINY
    unit, weight = spectrum * magnitude.reciprocal(), magnitude.sqrt()
    over_bin = unit[:, 1:] * unit[:, :-1].conj()
    over_frame = unit[:, :, 1:] * unit[:, :, :-1].conj()
    changes = (
        (over_bin[:, 1:] * over_bin[:, :-1].conj(), weight[:, 1:-1], 1),
        (over_frame[:, :, 1:] * over_frame[:, :, :-1].conj(), weight[:, :, 1:-1], 0),
        (over_bin[:, :, 1:] * over_bin[:, :, :-1].conj(), weight[:, 1:, 1:], 1),
    )
    parts = []
    for change, share, first in changes:
        total = _by_band(share, MIDDLE_FFT, first)
        per_frame = _by_band(change.real * share, MIDDLE_FFT, first) / total
        parts += [per_frame.mean(2), per_frame.std(2)]
        if not parts[2:]:
            whole = (_by_band(change.imag * share, MIDDLE_FFT, first) / total).mean(2)
    return torch.cat([*parts, whole], dim=1)


def _rhythms(sound: Tensor) -> Tensor:
    """Share of each band's level changes by rate (2 to 250 Hz), and likeness to the band below and to all together."""
    import torch

    power = _power(_spectrum(sound, SHORT_FFT, SHORT_HOP)[:, 1 : 1 + BANDS])
    peak = power.amax(dim=(1, 2), keepdim=True)
    level = torch.log(power + FLOOR * peak + TINY)
    level = level - level.mean(2, keepdim=True)
    frames = level.shape[2]
    moved = _power(torch.fft.rfft(level * torch.hann_window(frames), dim=2))
    shares = torch.from_numpy(_rates(frames))
    stacked = torch.matmul(moved, shares).transpose(1, 2) + TINY
    shares_log = torch.log(stacked / stacked.sum(1, keepdim=True)).flatten(1)
    quick = level - torch.nn.functional.avg_pool1d(level, 25, 1, 12, count_include_pad=False)
    unit = quick / quick.square().mean(2, keepdim=True).sqrt().clamp_min(1e-4)
    total = unit.mean(1, keepdim=True)
    total = total / total.square().mean(2, keepdim=True).sqrt().clamp_min(1e-4)
    below = torch.cat([unit[:, :1], unit[:, :-1]], 1)
    return torch.cat([shares_log, (unit * below).mean(2), (unit * total).mean(2)], dim=1)


def _waveform(sound: Tensor) -> Tensor:
    """Of the prediction residual, whole and above 3 kHz: skewness, two orders of peakedness, evenness; then tones."""
    import torch

    size = sound.shape[1] - sound.shape[1] % 400
    spectrum = torch.fft.rfft(sound[:, :size])
    power = _power(_spectrum(sound, LONG_FFT, LONG_HOP)).mean(2)
    smooth = torch.nn.functional.avg_pool1d(power[:, None], 17, 1, 8, count_include_pad=False)[:, 0] + TINY
    centre = torch.tensor([round(hertz / SAMPLE_RATE_HZ * LONG_FFT) for hertz in TONES_HZ])
    height = torch.log(power + FLOOR * power.amax(1, keepdim=True) + TINY)
    around = height[:, centre[:, None] + torch.tensor([[-5, -3, 3, 5]])].mean(2)
    tones = height[:, centre] - around
    white = torch.nn.functional.interpolate(smooth.sqrt()[:, None], size // 2 + 1, mode="linear", align_corners=True)
    whitened = spectrum / white[:, 0].clamp_min(1e-6)
    found = []
    for first in (0, round(3_000.0 / SAMPLE_RATE_HZ * size)):
        kept = whitened.clone()
        kept[:, :first] = 0
        kept[:, round(7_600.0 / SAMPLE_RATE_HZ * size) :] = 0
        residual = torch.fft.irfft(kept, size)
        squared = residual.square()
        level = squared.mean(1).sqrt().clamp_min(TINY)
        away = residual.abs()
        found += [
            ((squared * residual).mean(1) / level.pow(3)).clamp(-8, 8),
            torch.log(squared.square().mean(1) / level.pow(4) + TINY),
            away.mean(1) / level,
            torch.log(away.sqrt().mean(1) / level.sqrt() + TINY),
        ]
    return torch.cat([torch.stack(found, 1), tones], dim=1)


def fine_statistics(windows: Tensor) -> Tensor:
    """``[batch, time]`` at 16 kHz, any level, to float32 ``[batch, FINE_STATISTICS]``.

    Raises:
        ValueError: not 2-d, or shorter than a fifth of a second.
    """
    import torch

    if windows.ndim != 2 or windows.shape[1] < SAMPLE_RATE_HZ // 5:
        shape = tuple(windows.shape)
        raise ValueError(f"windows have shape {shape}; give [batch, time] with at least {SAMPLE_RATE_HZ // 5} samples")
    sound = windows / windows.square().mean(1, keepdim=True).sqrt().clamp_min(1e-5)
    return torch.cat([_harmonics(sound), _phases(sound), _rhythms(sound), _waveform(sound)], dim=1)
