"""A small network over what is left of a sound's fine structure and how its bands move: the quickest to fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.fine_features import FINE_STATISTICS, fine_statistics
from detectors.network_detector import NetworkEntry
from detectors.statistics_features import STATISTICS, spectral_statistics

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["ALL_STATISTICS", "DETECTOR", "WIDTH", "all_statistics"]

ALL_STATISTICS = STATISTICS + FINE_STATISTICS
WIDTH = 512


def all_statistics(windows: Tensor) -> Tensor:
    """``[batch, time]`` at 16 kHz to float32 ``[batch, ALL_STATISTICS]``: those of bands, then the fine ones."""
    import torch

    return torch.cat([spectral_statistics(windows), fine_statistics(windows)], dim=1)


def _network() -> nn.Module:
    from detectors.networks.statistics import StatisticsNetwork

    return StatisticsNetwork(ALL_STATISTICS, WIDTH)


DETECTOR = NetworkEntry("fine_statistics", _network, all_statistics)
"""Picked up by :func:`detectors.discover`."""
