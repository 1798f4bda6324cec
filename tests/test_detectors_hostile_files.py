"""A detector's folder from a stranger, with every digest right, is a detector or one sentence."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from detectors.artefacts import CONFIG, WEIGHTS, fitted, read_config, read_weights, write_artefact
from detectors.fusion import DETECTOR as FUSION
from detectors.mel_cnn import DETECTOR as MEL_CNN
from detectors.networks.mel_cnn import MelCnn, MelCnnConfig

CALIBRATION = {"scale": 1.0, "offset": 0.0, "independent_bona": 9, "independent_synth": 9}
SHAPE = MelCnnConfig(widths=(2, 2))


def saved(folder: Path, tensors: dict[str, torch.Tensor] | None = None, **changed: Any) -> str:
    config = {"network": SHAPE.to_dict(), "calibration": CALIBRATION, "threshold_llr": 0.0} | changed
    write_artefact(folder, MelCnn(SHAPE).state_dict() if tensors is None else tensors, config, {})
    return str(folder)


def test_a_sound_folder_is_a_detector_with_its_own_weights(tmp_path: Path) -> None:
    network = MelCnn(SHAPE)
    loaded = MEL_CNN.load(saved(tmp_path, network.state_dict())).network
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"network": {"widths": [10**9, 10**9], "dropout": 0.2}}, "make no such detector|do not fit"),
        ({"network": {"widths": [2] * 50_000, "dropout": 0.2}}, r"make no such detector \(widths has 50000 blocks"),
        ({"network": {"widths": [-1], "dropout": 0.2}}, "make no such detector"),
        ({"network": {"widths": [1 << 62, 1 << 62], "dropout": 0.2}}, "make no such detector|do not fit"),
        ({"network": {"widths": "x", "dropout": []}}, "make no such detector"),
        ({"network": 3}, "make no such detector"),
        ({"calibration": {**CALIBRATION, "scale": 10**400}}, "make no such detector"),
        ({"calibration": None}, "make no such detector"),
    ],
)
def test_a_configuration_that_makes_no_detector_is_refused_at_once(
    tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    folder = saved(tmp_path, **changed)
    started = time.process_time()
    with pytest.raises(ValueError, match=message):
        MEL_CNN.load(folder)
    assert time.process_time() - started < 10.0


def test_weights_that_are_no_numbers_and_files_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'head.bias' is not finite"):
        MEL_CNN.load(saved(tmp_path, MelCnn(SHAPE).state_dict() | {"head.bias": torch.tensor([float("nan")])}))
    config = read_config(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"\xff" * 64)
    with pytest.raises(ValueError, match="SHA-256"):
        read_weights(tmp_path, config)
    (tmp_path / CONFIG).write_text("[" * 200_000)
    with pytest.raises(ValueError, match="is not JSON"):
        read_config(tmp_path)


def test_a_left_over_weight_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'more' has shape \[3\], it asks for none"):
        fitted(lambda: MelCnn(SHAPE), MelCnn(SHAPE).state_dict() | {"more": torch.zeros(3)}, tmp_path)


@pytest.mark.parametrize("name", ["fusion", "training", "..", "networks.mel_cnn", ""])
def test_a_fusion_takes_only_parts_that_are_detectors_of_one_network(tmp_path: Path, name: str) -> None:
    parts = {"parts": {name: "0" * 64}, "weights": {name: 1.0}, "offset": 0.0, "frame_part": name}
    with pytest.raises(ValueError, match="has a part"):
        FUSION.load(saved(tmp_path / "fusion", **parts))
