"""Checkpoints: what is stored comes back; what is not ours, cut off, exchanged or misfitting is refused by name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from audiolm.checkpoint import (
    CheckpointError,
    config_from_dict,
    config_to_dict,
    load_part,
    load_weights,
    part_digest,
    save_part,
    stored_part,
    weights_digest,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    width: int = 3

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ValueError("width is below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    strides: tuple[int, ...] = (2, 4)
    rate: float = 0.5
    limit: int | None = None
    kind: Literal["a", "b"] = "a"
    weights: tuple[tuple[str, float], ...] = ()
    inner: Inner = field(default_factory=Inner)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = config_to_dict(Outer(name="x"))
    save_part(tmp_path, part="thing", config=config, state_dict=weights(), record={"steps": 7})
    return tmp_path


def weights() -> dict[str, torch.Tensor]:
    return {"weight": torch.tensor([[0.5, -1.25]]), "bias": torch.tensor([3.0]), "count": torch.tensor([4])}


def test_what_is_saved_comes_back_as_float32(folder: Path) -> None:
    config, state, record = load_part(folder, "thing")
    assert config_from_dict(Outer, config) == Outer(name="x")
    assert record == {"steps": 7}
    assert stored_part(folder) == "thing"
    for name, tensor in weights().items():
        assert torch.equal(state[name], tensor) and state[name].dtype == tensor.dtype


def test_half_precision_is_on_disk_and_full_precision_when_asked(tmp_path: Path) -> None:
    exact = {"w": torch.tensor([0.1])}
    save_part(tmp_path, part="p", config={}, state_dict=exact, record={})
    assert load_part(tmp_path, "p")[1]["w"].item() == exact["w"].half().float().item()
    save_part(tmp_path, part="p", config={}, state_dict=exact, record={}, half=False)
    assert load_part(tmp_path, "p")[1]["w"].item() == exact["w"].item()


def test_saving_twice_gives_the_same_bytes_and_the_digest_is_the_files(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "again"
    save_part(other, part="thing", config=config_to_dict(Outer(name="x")), state_dict=weights(), record={"steps": 7})
    for name in ("config.json", "model.safetensors"):
        assert (other / name).read_bytes() == (folder / name).read_bytes()
    assert weights_digest(folder) == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert part_digest(folder, "thing") == part_digest(other, "thing")


@pytest.mark.parametrize("kept", [0, 4, 60, -1])
def test_a_cut_off_weights_file_is_refused(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: truncated"):
        load_part(folder, "thing")


def test_changed_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: SHA-256 .* copy both files again"):
        load_part(folder, "thing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "not an audiolm checkpoint"),
        ({"format_version": 99}, "format version 99"),
        ({"part": "else"}, "holds part 'else', not 'thing'"),
        ({"config": None}, "lacks the object 'config'"),
        ({"weights_sha256": None}, "lacks 'weights_sha256'"),
    ],
)
def test_a_foreign_config_is_refused(folder: Path, change: dict[str, object], message: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(CheckpointError, match=message):
        load_part(folder, "thing")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"{"])
def test_a_config_that_is_no_json_object_is_refused(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_part(folder, "thing")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_part(folder, "thing")


def test_weights_must_fit_the_module(tmp_path: Path) -> None:
    module = nn.Linear(2, 1)
    with pytest.raises(CheckpointError, match=r"'bias'.*1 missing"):
        load_weights(module, {"weight": torch.zeros(1, 2)}, tmp_path)
    with pytest.raises(CheckpointError, match=r"'more'.*1 left over"):
        load_weights(module, {**module.state_dict(), "more": torch.zeros(1)}, tmp_path)
    with pytest.raises(CheckpointError, match=r"'weight' has shape \[1, 3\].*\[1, 2\]"):
        load_weights(module, {"weight": torch.zeros(1, 3), "bias": torch.zeros(1)}, tmp_path)
    load_weights(module, {"weight": torch.ones(1, 2), "bias": torch.zeros(1)}, tmp_path)
    assert module.weight.sum().item() == 2


def test_a_diverged_model_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'w' is not finite"):
        save_part(tmp_path, part="p", config={}, state_dict={"w": torch.tensor([float("nan")])}, record={})
    with pytest.raises(CheckpointError, match="float16"):
        save_part(tmp_path, part="p", config={}, state_dict={"w": torch.tensor([1e6])}, record={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"name": "x", "stride": [1]}, "unknown key 'stride'; did you mean 'strides'"),
        ({"name": "x", "inner": {"widht": 1}}, "Inner: unknown key 'widht'; did you mean 'width'"),
        ({}, "key 'name' is missing"),
        ({"name": 3}, r"Outer\.name is 3; give a value of type str"),
        ({"name": "x", "strides": 2}, "give a list"),
        ({"name": "x", "strides": ["2"]}, "type int"),
        ({"name": "x", "kind": "c"}, "use one of 'a', 'b'"),
        ({"name": "x", "limit": True}, "type int"),
        ({"name": "x", "inner": {"width": 0}}, "width is below 1"),
        ({"name": "x", "inner": 3}, "give an object"),
    ],
)
def test_wrong_configurations_are_refused(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        config_from_dict(Outer, mapping)


def test_configuration_values_take_their_declared_types() -> None:
    built = config_from_dict(Outer, {"name": "x", "strides": [1, 2], "rate": 1, "limit": 4, "inner": {"width": 2}})
    assert built == Outer(name="x", strides=(1, 2), rate=1.0, limit=4, inner=Inner(width=2))
    assert isinstance(built.rate, float) and isinstance(built.strides, tuple)
    pairs = config_from_dict(Outer, {"name": "x", "weights": [["mel", 1], ["band", 0.5]]}).weights
    assert pairs == (("mel", 1.0), ("band", 0.5)) and isinstance(pairs[0][1], float)
    with pytest.raises(CheckpointError, match="Outer.weights is .*; give a list of 2"):
        config_from_dict(Outer, {"name": "x", "weights": [["mel", 1, 2]]})
