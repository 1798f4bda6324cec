"""A detector's folder with patched settings or foreign weights, its digests set right or not."""

from __future__ import annotations

import importlib
import json
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from fuzz.part_configs import patched

__all__ = ["detector_seeds", "read_detector"]

DETECTOR_NAMES = ("mel_cnn", "lfcc_gmm", "fusion")


def read_detector(data: bytes, folder: Path) -> None:
    """Byte 0: which detector, and whether digests are set right; byte 1: bytes of patches; then the weights file."""
    from safetensors.torch import save

    kind, count = (data[0], data[1]) if len(data) > 1 else (0, 0)
    head, weights = data[2 : 2 + count], data[2 + count :]
    name = DETECTOR_NAMES[kind % len(DETECTOR_NAMES)]
    config, tensors = small_detectors()[name]
    document = patched(config, head)
    weights = weights or save(dict(tensors))
    if kind < 128:
        files = document.get("files")
        if isinstance(files, dict) and "model.safetensors" in files:
            files["model.safetensors"] = sha256(weights).hexdigest()
        rest = {key: value for key, value in document.items() if key != "config_sha256"}
        document["config_sha256"] = sha256(json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    place = folder / name
    place.mkdir()
    (place / "config.json").write_bytes(json.dumps(document).encode())
    (place / "model.safetensors").write_bytes(weights)
    try:
        importlib.import_module(f"detectors.{name}").DETECTOR.load(str(place)).describe()
    finally:
        for path in place.iterdir():
            path.unlink()
        place.rmdir()


def detector_seeds() -> list[bytes]:
    import torch
    from safetensors.torch import save

    seeds = [bytes([kind, 0]) for kind in range(3)]
    seeds += [bytes([kind, 2, place, choice]) for kind in range(3) for place in (0, 5, 9, 14) for choice in (0, 11, 25)]
    return [*seeds, b"\0\0" + save({"blocks.0.weight": torch.ones(2, 3)}), b"\x80\0"]


@lru_cache(maxsize=1)
def small_detectors() -> dict[str, tuple[dict[str, object], dict[str, Any]]]:
    """``config.json`` and weights of a network, a pair of mixtures, and a fusion (whose parts are not there)."""
    import torch

    from detectors.linear_features import LFCC_SIZE
    from detectors.networks.mel_cnn import MelCnn, MelCnnConfig

    calibration = {"scale": 1.0, "offset": 0.0, "independent_bona": 9, "independent_synth": 9}
    shared: dict[str, object] = {
        "format_version": 1, "calibration": calibration, "threshold_llr": 0.0, "files": {"model.safetensors": ""},
    }  # fmt: skip
    shape = MelCnnConfig(widths=(2, 2))
    mixture = {
        "log_weights": torch.zeros(2),
        "means": torch.zeros(2, LFCC_SIZE),
        "precisions": torch.ones(2, LFCC_SIZE),
    }
    pair = {f"{kind}.{part}": value.clone() for kind in ("bona_fide", "synthetic") for part, value in mixture.items()}
    fusion = {"parts": {"mel_cnn": "00"}, "weights": {"mel_cnn": 1.0}, "offset": 0.0, "frame_part": "mel_cnn"}
    return {
        "mel_cnn": (shared | {"network": shape.to_dict()}, MelCnn(shape).state_dict()),
        "lfcc_gmm": (shared, pair),
        "fusion": (shared | fusion, {}),
    }
