"""A small network over spread, skewness and likeness of a spectrum's bands: quick to fit, and unlike the others."""

from __future__ import annotations

from pathlib import Path

from detectors.network_detector import NetworkDetector, load_network_detector
from detectors.statistics_features import spectral_statistics

__all__ = ["DETECTOR", "SHIPPED"]

SHIPPED = Path(__file__).parent / "pretrained" / "spectral_statistics"


class _Entry:
    name = "spectral_statistics"

    def load(self, path: str | None = None, device: str = "cpu") -> NetworkDetector:
        """The shipped detector, or the one saved in folder ``path``.

        Raises:
            ValueError: a file is missing, altered, or does not fit the network.
        """
        from detectors.networks.statistics import StatisticsNetwork

        folder = Path(path) if path is not None else SHIPPED
        return load_network_detector(self.name, folder, StatisticsNetwork, spectral_statistics, device)


DETECTOR = _Entry()
