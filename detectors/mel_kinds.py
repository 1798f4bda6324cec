"""The log-mel network with one output per kind of sound (:mod:`detectors.kinds`), trained on wider data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.features import log_mel
from detectors.network_detector import NetworkEntry

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DETECTOR"]


def _network() -> nn.Module:
    from detectors.kinds import KINDS
    from detectors.networks.mel_cnn import MelCnn, MelCnnConfig

    return MelCnn(MelCnnConfig(outputs=len(KINDS)))


DETECTOR = NetworkEntry("mel_kinds", _network, log_mel)
