"""A light convolutional network over the spectrum on a linear frequency axis (Lavrentyeva et al. 2019)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from detectors.linear_features import log_linear
from detectors.network_detector import NetworkEntry

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DETECTOR"]


def _network() -> nn.Module:
    from detectors.networks.lcnn import Lcnn

    return Lcnn()


DETECTOR = NetworkEntry("lfcc_lcnn", _network, log_linear)
