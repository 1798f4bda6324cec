"""The log-mel network with one output per kind of sound (:mod:`detectors.kinds`), trained on wider data."""

from __future__ import annotations

from pathlib import Path

from detectors.features import log_mel
from detectors.network_detector import NetworkDetector, load_network_detector

__all__ = ["DETECTOR", "SHIPPED"]

SHIPPED = Path(__file__).parent / "pretrained" / "mel_kinds"


class _Entry:
    name = "mel_kinds"

    def load(self, path: str | None = None, device: str = "cpu") -> NetworkDetector:
        """The shipped detector, or the one saved in folder ``path``.

        Raises:
            ValueError: a file is missing, altered, or does not fit the network.
        """
        from detectors.kinds import KINDS
        from detectors.networks.mel_cnn import MelCnn, MelCnnConfig

        folder = Path(path) if path is not None else SHIPPED
        shape = MelCnnConfig(outputs=len(KINDS))
        return load_network_detector(self.name, folder, lambda: MelCnn(shape), log_mel, device)


DETECTOR = _Entry()
