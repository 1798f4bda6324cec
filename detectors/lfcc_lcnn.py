"""A light convolutional network over the spectrum on a linear frequency axis (Lavrentyeva et al. 2019)."""

from __future__ import annotations

from pathlib import Path

from detectors.linear_features import log_linear
from detectors.network_detector import NetworkDetector, load_network_detector

__all__ = ["DETECTOR", "SHIPPED"]

SHIPPED = Path(__file__).parent / "pretrained" / "lfcc_lcnn"


class _Entry:
    name = "lfcc_lcnn"

    def load(self, path: str | None = None, device: str = "cpu") -> NetworkDetector:
        """The shipped detector, or the one saved in folder ``path``.

        Raises:
            ValueError: a file is missing, altered, or does not fit the network.
        """
        from detectors.networks.lcnn import Lcnn

        folder = Path(path) if path is not None else SHIPPED
        return load_network_detector(self.name, folder, Lcnn, log_linear, device)


DETECTOR = _Entry()
