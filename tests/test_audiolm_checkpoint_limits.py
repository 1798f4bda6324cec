"""A checkpoint of a stranger cannot ask for more memory or time than its own file is large."""

from __future__ import annotations

import hashlib
import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from audiolm.checkpoint import CheckpointError, build, config_from_dict, load_part
from audiolm.codec.config import CodecConfig
from audiolm.codec.soundstream import SoundStream
from audiolm.delayed import DelayedConfig, DelayedStage
from audiolm.generation_defaults import read_generation_defaults
from audiolm.sampling import Recall
from audiolm.stages import Stage
from audiolm.transformer import TransformerConfig

SMALL = {"latent_dim": 4, "n_levels": 2, "codebook_size": 4, "channels": 2}


@pytest.fixture
def codec(tmp_path: Path) -> Path:
    SoundStream(CodecConfig(**SMALL)).save(tmp_path, {})  # type: ignore[arg-type]
    return tmp_path


def change(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    document = json.loads(path.read_text())
    document["config"] |= values
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"codebook_size": 10**12}, "has shape"),
        ({"n_levels": 10**15}, "has shape|makes no such part"),
        ({"channels": 10**6}, "asks for a weight of"),
        ({"latent_dim": 1 << 20}, "asks for a weight of|has shape"),
        ({"strides": [2] * 16}, "asks for a weight|lacks weight"),
        ({"strides": []}, "strides is"),
        ({"channels": -1}, "channels is"),
        ({"window": 10**9}, "window is"),
        ({"sample_rate_hz": 10**400}, "sample_rate_hz is"),
    ],
)
def test_a_configuration_beyond_its_weights_is_refused_at_once(
    codec: Path, values: dict[str, Any], message: str
) -> None:
    change(codec, **values)
    started = time.process_time()
    with pytest.raises(CheckpointError, match=message):
        SoundStream.load(codec)
    assert time.process_time() - started < 5.0


def test_every_kind_of_stage_is_held_to_its_weights(tmp_path: Path) -> None:
    sizes = {"n_semantic": 4, "n_coarse": 1, "n_levels": 2, "codebook_size": 4, "code_dim": 2, "window": 8}
    small = TransformerConfig(layers=1, heads=2, dim=8, ff_dim=8)
    DelayedStage(DelayedConfig(transformer=small, **sizes)).save(tmp_path, {})  # type: ignore[arg-type]
    for values in ({"codebook_size": 10**12}, {"context_layers": 10**9}, {"code_dim": 1 << 40}):
        change(tmp_path, **values)
        with pytest.raises(CheckpointError, match="asks for|has shape|makes no such part"):
            DelayedStage.load(tmp_path)
        change(tmp_path, **sizes, context_layers=2)
    assert DelayedStage.load(tmp_path).config.codebook_size == 4


def test_weights_that_are_no_numbers_are_refused(codec: Path) -> None:
    header = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    weights_of(codec, header, struct.pack("<f", float("inf")))
    with pytest.raises(CheckpointError, match="weight 'a' is not finite"):
        load_part(codec, "codec")


def test_layers_without_end_are_refused(tmp_path: Path) -> None:
    state = {"weight": torch.zeros(2, 2)}
    with pytest.raises(CheckpointError, match="more than 2,020 layers; the weights hold 1"):
        build(lambda: nn.ModuleList([nn.Sequential(nn.Identity()) for _ in range(10**7)]), state, tmp_path)


def test_what_is_loaded_is_what_was_saved(codec: Path) -> None:
    loaded = SoundStream.load(codec)
    wave = torch.sin(torch.arange(3_200.0))[None] * 0.1
    assert torch.equal(loaded.encode(wave), SoundStream.load(codec).encode(wave))
    assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))


def weights_of(folder: Path, header: dict[str, Any] | bytes, body: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    data = struct.pack("<Q", len(text)) + text + body
    (folder / "model.safetensors").write_bytes(data)
    document = json.loads((folder / "config.json").read_text())
    document["weights_sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "config.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("header", "body", "message"),
    [
        ({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}}, b"1234", "does not fill its 4 bytes"),
        ({"a": {"dtype": "F32", "shape": [2, -2], "data_offsets": [0, 16]}}, bytes(16), "truncated or not"),
        ({"a": {"dtype": "F32", "shape": [0] * 9, "data_offsets": [0, 0]}}, b"", "does not fill"),
        ({"a": {"dtype": "PY", "shape": [1], "data_offsets": [0, 4]}}, b"1234", "truncated or not"),
        (b"[" * 50_000, b"", "truncated or not"),
        (b'{"a": NaN}', b"", "truncated or not"),
    ],
)
def test_a_header_that_lies_is_refused(codec: Path, header: Any, body: bytes, message: str) -> None:
    weights_of(codec, header, body)
    with pytest.raises(CheckpointError, match=message):
        load_part(codec, "codec")


def test_huge_files_are_refused_unread(codec: Path, tmp_path: Path) -> None:
    with (codec / "config.json").open("r+b") as stream:
        stream.truncate(17 << 20)
    with pytest.raises(CheckpointError, match="more than 16,777,216 bytes"):
        Stage.load(codec, "fine")
    with pytest.raises(CheckpointError, match="is not readable JSON"):
        (codec / "config.json").write_text("[" * 100_000)
        Stage.load(codec, "fine")
    with pytest.raises(CheckpointError, match="is not readable JSON"):
        (codec / "config.json").write_text('{"a": ' + "9" * 5_000 + "}")
        Stage.load(codec, "fine")


def test_a_whole_number_too_large_for_a_float_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="Recall.share is a whole number beyond 1e308"):
        config_from_dict(Recall, {"share": 10**400})
    (tmp_path / "generation.json").write_text('{"guidance": ' + "9" * 400 + "}")
    with pytest.raises(CheckpointError, match="whole number beyond 1e308"):
        read_generation_defaults(tmp_path)
