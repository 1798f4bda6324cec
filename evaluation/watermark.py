"""AudioSeal watermarks (San Roman et al. 2024), where the extra ``watermark`` is installed: one-sided evidence.

A mark that is found says that a generator which sets one has made the sound. No mark says nothing at all: most
generators set none, and a change of speed or a codec removes it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from audiolm.audio import stream_blocks

__all__ = ["DEFAULT_WEIGHTS", "WatermarkReader", "load_watermark_reader"]

DEFAULT_WEIGHTS = "audioseal_detector_16bits"
RATE_HZ = 16_000
BLOCK_S = 10.0
MARKED_SHARE = 0.5
WORTH_NOTHING = "no AudioSeal watermark found; that says nothing, most generators set none and edits remove it"


class WatermarkReader:
    """``detect(samples [1, 1, time], rate)`` gives the share of marked frames and the message bits ``[1, bit]``."""

    def __init__(self, detect: Callable[[Any, int], tuple[Any, Any]]) -> None:
        self._detect = detect

    def read(self, path: Path) -> dict[str, Any]:
        """``found``, the highest share of marked frames among blocks of 10 s, where it is, and the message there."""
        import torch

        best: dict[str, Any] = {"reader": "audioseal", "found": False, "share": 0.0, "start_s": 0.0, "message": ""}
        start_s = 0.0
        for block in stream_blocks(path, block_s=BLOCK_S):
            samples = block.at_rate(RATE_HZ).samples
            peak = float(np.abs(samples).max()) if samples.size else 0.0
            if samples.size >= RATE_HZ // 2 and peak > 0.0:
                with torch.inference_mode():
                    share, message = self._detect(torch.from_numpy(samples.copy())[None, None], RATE_HZ)
                share = float(share)
                if share > best["share"]:
                    bits = "".join(str(int(bit)) for bit in np.asarray(message).ravel())
                    best |= {"share": round(share, 4), "start_s": round(start_s, 3), "message": bits}
            start_s += block.duration_s
        best["found"] = best["share"] >= MARKED_SHARE
        best["message"] = best["message"] if best["found"] else ""
        return best | {"says": _says(best)}


def _says(found: dict[str, Any]) -> str:
    if not found["found"]:
        return WORTH_NOTHING
    return (
        f"AudioSeal watermark in {found['share']:.0%} of the frames from {found['start_s']:.0f} s, message"
        f" {found['message']}"
    )


def load_watermark_reader(weights: str = DEFAULT_WEIGHTS) -> WatermarkReader:
    """The AudioSeal detector: by the name of its card (fetched once, when online) or from a file of weights.

    Raises:
        ValueError: the extra is not installed, or the weights cannot be had.
    """
    if importlib.util.find_spec("audioseal") is None:
        raise ValueError("--watermark needs AudioSeal: pip install 'audiolm-audit[watermark]'")
    module: Any = importlib.import_module("audioseal")
    try:
        detector = module.AudioSeal.load_detector(weights)
    except Exception as error:  # whatever the library and its download raise, the user must hear what to do
        raise ValueError(
            f"AudioSeal weights {weights!r} cannot be loaded ({type(error).__name__}: {error}); go online once, or"
            " name a file of weights: --watermark FILE"
        ) from error
    detector.eval()
    return WatermarkReader(lambda samples, rate_hz: detector.detect_watermark(samples, sample_rate=rate_hz))
