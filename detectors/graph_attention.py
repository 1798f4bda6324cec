"""A graph-attention network after AASIST (Jung et al. 2022) over a spectrum of high time resolution."""

from __future__ import annotations

from pathlib import Path

from detectors.linear_features import wideband
from detectors.network_detector import NetworkDetector, load_network_detector

__all__ = ["DETECTOR", "SHIPPED"]

SHIPPED = Path(__file__).parent / "pretrained" / "graph_attention"


class _Entry:
    name = "graph_attention"

    def load(self, path: str | None = None, device: str = "cpu") -> NetworkDetector:
        """The shipped detector, or the one saved in folder ``path``.

        Raises:
            ValueError: a file is missing, altered, or does not fit the network.
        """
        from detectors.networks.graph_attention import GraphAttentionNetwork

        folder = Path(path) if path is not None else SHIPPED
        return load_network_detector(self.name, folder, GraphAttentionNetwork(), wideband, device)


DETECTOR = _Entry()
