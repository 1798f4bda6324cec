"""A small network over what is left of a sound's fine structure and how its bands move: the quickest to fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from detectors.fine_features import FINE_STATISTICS, fine_statistics
from detectors.network_detector import NetworkDetector, load_network_detector
from detectors.statistics_features import STATISTICS, spectral_statistics

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ALL_STATISTICS", "DETECTOR", "SHIPPED", "WIDTH", "all_statistics"]

SHIPPED = Path(__file__).parent / "pretrained" / "fine_statistics"
ALL_STATISTICS = STATISTICS + FINE_STATISTICS
WIDTH = 256


def all_statistics(windows: Tensor) -> Tensor:
    """``[batch, time]`` at 16 kHz to float32 ``[batch, ALL_STATISTICS]``: those of bands, then the fine ones."""
    import torch

    return torch.cat([spectral_statistics(windows), fine_statistics(windows)], dim=1)


class _Entry:
    name = "fine_statistics"

    def load(self, path: str | None = None, device: str = "cpu") -> NetworkDetector:
        """The shipped detector, or the one saved in folder ``path``.

        Raises:
            ValueError: a file is missing, altered, or does not fit the network.
        """
        from detectors.networks.statistics import StatisticsNetwork

        folder = Path(path) if path is not None else SHIPPED
        return load_network_detector(
            self.name, folder, lambda: StatisticsNetwork(ALL_STATISTICS, WIDTH), all_statistics, device
        )


DETECTOR = _Entry()
"""Picked up by :func:`detectors.discover`."""
