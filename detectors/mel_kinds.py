"""The log-mel network with one output per kind of sound (:mod:`detectors.kinds`), trained on wider data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.features import log_mel
from detectors.network_detector import NetworkEntry

if TYPE_CHECKING:
    from detectors.networks.mel_cnn import MelCnn

__all__ = ["DETECTOR", "new_network"]

WIDTHS = (24, 48, 80, 160, 224, 256)
"""Of its six blocks: as ``mel_cnn`` where maps are large, twice as many channels where they are small and cheap."""


def new_network() -> MelCnn:
    """Untrained."""
    from detectors.kinds import KINDS
    from detectors.networks.mel_cnn import MelCnn, MelCnnConfig

    return MelCnn(MelCnnConfig(widths=WIDTHS, outputs=len(KINDS)))


DETECTOR = NetworkEntry("mel_kinds", new_network, log_mel)
