"""How each band of a spectrum moves, in numbers that forget when: for detectors that are quick to fit.

Of the linear-frequency spectrum and of the wideband one (:mod:`detectors.linear_features`): spread, skewness and
flatness of each band's level, its likeness to itself one and more frames later, and to bands beside it. Learnt decoders
and vocoders move too smoothly, too evenly, or with bands that have lost their common pulse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.linear_features import LINEAR_BANDS, WIDEBAND_BANDS, log_linear, wideband

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["STATISTICS", "spectral_statistics"]

LINEAR_LAGS, LINEAR_NEIGHBOURS = (1, 2, 4), (1, 4)
WIDEBAND_LAGS, WIDEBAND_NEIGHBOURS = (1, 2, 3, 5), (1, 5)


def _size(bands: int, lags: tuple[int, ...], neighbours: tuple[int, ...]) -> int:
    return bands * (4 + len(lags)) + sum(bands - distance for distance in neighbours)


STATISTICS = _size(LINEAR_BANDS, LINEAR_LAGS, LINEAR_NEIGHBOURS) + _size(
    WIDEBAND_BANDS, WIDEBAND_LAGS, WIDEBAND_NEIGHBOURS
)
"""How many numbers there are per window."""
TINY = 1e-3


def _of(levels: Tensor, lags: tuple[int, ...], neighbours: tuple[int, ...]) -> Tensor:
    """Numbers of ``levels`` ``[batch, band, frame]`` whose mean over frames is zero; ``[batch, number]``."""
    import torch

    spread = levels.square().mean(2).sqrt() + TINY
    unit = levels / spread.unsqueeze(2)
    change = (levels[:, :, 1:] - levels[:, :, :-1]).square().mean(2).sqrt()
    parts = [torch.log(spread), unit.pow(3).mean(2).clamp(-4, 4), unit.abs().mean(2), torch.log(change + TINY)]
    parts += [(unit[:, :, lag:] * unit[:, :, :-lag]).mean(2) for lag in lags]
    parts += [(unit[:, distance:] * unit[:, :-distance]).mean(2) for distance in neighbours]
    return torch.cat(parts, dim=1)


def spectral_statistics(windows: Tensor) -> Tensor:
    """``[batch, time]`` at 16 kHz to float32 ``[batch, STATISTICS]``.

    Raises:
        ValueError: not 2-d, or shorter than one analysis frame.
    """
    import torch

    linear = _of(log_linear(windows), LINEAR_LAGS, LINEAR_NEIGHBOURS)
    return torch.cat([linear, _of(wideband(windows), WIDEBAND_LAGS, WIDEBAND_NEIGHBOURS)], dim=1)
