"""The log-mel convolutional detector (after AudioLM, section IV.F), with abstention and calibrated output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.artefacts import fitted, read_config, read_weights, reading
from detectors.calibration import Calibration
from detectors.features import log_mel
from detectors.windowed import REFERENCE_SCORES, WindowedDetector, speech_windows

if TYPE_CHECKING:
    from detectors.networks.mel_cnn import MelCnn

__all__ = ["DETECTOR", "REFERENCE_SCORES", "SHIPPED", "MelCnnDetector", "speech_windows"]

SHIPPED = Path(__file__).parent / "pretrained" / "mel_cnn"


class MelCnnDetector(WindowedDetector):
    """A loaded network with its calibration; see :class:`detectors.Detector`."""

    name = "mel_cnn"

    def __init__(
        self, network: MelCnn, calibration: Calibration, config: Mapping[str, Any], folder: Path | None, device: str
    ) -> None:
        import torch

        super().__init__(calibration, config, folder)
        self.network = network.to(device).eval()
        self._quick = self.network.folded().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._device = device

    def score_window(self, samples: np.ndarray) -> float:
        """Logit of 1 to 2 s at 16 kHz, float32 ``[time]``; higher = more likely bona fide."""
        import torch

        with torch.inference_mode():
            window = torch.from_numpy(np.ascontiguousarray(samples))[None].to(self._device)
            return float(self._quick(log_mel(window))[0])


class _Entry:
    name = "mel_cnn"

    def load(self, path: str | None = None, device: str = "cpu") -> MelCnnDetector:
        """The shipped detector, or the one saved in folder ``path``.

        Raises:
            ValueError: a file is missing, altered, or does not fit the network.
        """
        from detectors.networks.mel_cnn import MelCnn, MelCnnConfig

        folder = Path(path) if path is not None else SHIPPED
        config = read_config(folder)
        with reading(folder):
            shape = MelCnnConfig.from_dict(config["network"])
            network = fitted(lambda: MelCnn(shape), read_weights(folder, config), folder)
            return MelCnnDetector(network, Calibration.from_dict(config["calibration"]), config, folder, device)


DETECTOR = _Entry()
