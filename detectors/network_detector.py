"""What detectors made of one network and one kind of feature share: loading, and scoring of a window."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors.artefacts import fitted, read_config, read_weights, reading
from detectors.calibration import Calibration
from detectors.windowed import WindowedDetector

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["NetworkDetector", "NetworkEntry"]

PRETRAINED = Path(__file__).parent / "pretrained"


class NetworkDetector(WindowedDetector):
    """A loaded network with its features and calibration; see :class:`detectors.Detector`."""

    def __init__(
        self,
        name: str,
        network: nn.Module,
        features: Callable[[Tensor], Tensor],
        config: Mapping[str, Any],
        folder: Path | None,
    ) -> None:
        import torch

        super().__init__(Calibration.from_dict(config["calibration"]), config, folder)
        from detectors.networks.mel_cnn import MelCnn

        self.network = network.eval()
        quick = network.folded() if isinstance(network, MelCnn) else network
        # Convolutions on one window at a time take half as long with the channels last in memory.
        self._quick = quick.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.name, self._features = name, features

    def score_window(self, samples: np.ndarray) -> float:
        """Logit of 1 to 2 s at 16 kHz, float32 ``[time]``; higher = more likely bona fide."""
        import torch

        with torch.inference_mode():
            device = next(self.network.parameters()).device
            window = torch.from_numpy(np.ascontiguousarray(samples))[None]
            return float(self._quick(self._features(window).to(device))[0])


@dataclass(frozen=True, slots=True)
class NetworkEntry:
    """A detector of this kind as :func:`detectors.discover` picks it up.

    ``network`` makes a new network (it imports what that takes), whose weights are replaced.
    """

    name: str
    network: Callable[[], nn.Module]
    features: Callable[[Tensor], Tensor]

    def load(self, path: str | None = None, device: str = "cpu") -> NetworkDetector:
        """The shipped detector, or the one saved in folder ``path``.

        Raises:
            ValueError: a file is missing, altered, or does not fit the network.
        """
        folder = Path(path) if path is not None else PRETRAINED / self.name
        config = read_config(folder)
        with reading(folder):
            filled = fitted(self.network, read_weights(folder, config), folder)
            return NetworkDetector(self.name, filled.to(device), self.features, config, folder)
