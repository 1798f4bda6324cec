"""DAC and EnCodec of transformers behind the codec protocol: geometry, codes as the library gives them, storage."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from audiolm.checkpoint import CheckpointError
from audiolm.codec.foreign import ForeignCodec, load_foreign
from audiolm.codec.protocol import AcousticTokenizer, load_acoustic

transformers: Any = pytest.importorskip("transformers", reason="extra 'codecs' is not installed")

KINDS = ("dac", "encodec")


def small(kind: str) -> ForeignCodec:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "dac":
            settings = transformers.DacConfig(
                encoder_hidden_size=4,
                downsampling_ratios=[2, 4, 5, 8],
                decoder_hidden_size=16,
                upsampling_ratios=[8, 5, 4, 2],
                n_codebooks=3,
                codebook_size=16,
                codebook_dim=4,
                hidden_size=8,
                sampling_rate=16_000,
            )
            return ForeignCodec(transformers.DacModel(settings))
        settings = transformers.EncodecConfig(
            num_filters=4, hidden_size=8, codebook_dim=8, codebook_size=16, num_lstm_layers=1, target_bandwidths=[0.9]
        )
        codec = ForeignCodec(transformers.EncodecModel(settings))
        with torch.no_grad():
            latents = codec.model.get_submodule("encoder")(noise(1, 1, 16 * 320))[0].T
        for layer in codec.model.get_submodule("quantizer.layers").children():  # its codebooks start as zeros
            layer.get_submodule("codebook").get_buffer("embed").copy_(latents)
        return codec


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)) * 0.1


@pytest.mark.parametrize(
    ("kind", "geometry"), [("dac", (16_000, 320, 50.0, 3, 16)), ("encodec", (24_000, 320, 75.0, 3, 16))]
)
def test_geometry_and_protocol(kind: str, geometry: tuple[float, ...]) -> None:
    codec = small(kind)
    assert isinstance(codec, AcousticTokenizer)
    found = (codec.sample_rate_hz, codec.hop, codec.frame_rate_hz, codec.n_levels, codec.codebook_size)
    assert found == geometry


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 319, 320, 321, 3200])
def test_lengths_and_any_number_of_levels(kind: str, length: int) -> None:
    codec = small(kind)
    codes = codec.encode(noise(2, length))
    frames = -(-length // 320)
    assert codes.shape == (2, 3, frames) and codes.dtype == torch.int64
    assert torch.equal(codec.encode(noise(2, length), 2), codes[:, :2])
    for levels in (1, 2, 3):
        assert codec.decode(codes[:, :levels]).shape == (2, frames * 320)
    if length == 3200:
        assert len(torch.unique(codes)) > 4


@pytest.mark.parametrize("kind", KINDS)
def test_codes_and_samples_are_those_of_the_library(kind: str) -> None:
    codec = small(kind)
    model: Any = codec.model
    samples = noise(1, 3200)
    with torch.no_grad():
        output = model(samples.unsqueeze(1))
    codes = codec.encode(samples)
    assert torch.equal(codes, output.audio_codes if kind == "dac" else output.audio_codes[0])
    theirs = output.audio_values.reshape(1, -1)
    assert torch.allclose(codec.decode(codes)[:, : theirs.shape[1]], theirs, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_stored_codec_gives_the_same_codes_and_is_found_by_its_part(tmp_path, kind: str) -> None:
    codec = small(kind)
    codec.save(tmp_path, {"source": "test"})
    loaded = load_acoustic(tmp_path)
    assert isinstance(loaded, ForeignCodec) and loaded.record == {"source": "test"}
    samples = noise(1, 2000)
    assert torch.equal(loaded.encode(samples), codec.encode(samples))
    assert torch.equal(loaded.decode(codec.encode(samples)), codec.decode(codec.encode(samples)))


def test_wrong_models_codes_and_folders_are_refused(tmp_path, monkeypatch) -> None:
    with pytest.raises(ValueError, match="give one of DacModel, EncodecModel"):
        ForeignCodec(torch.nn.Linear(1, 1))
    stereo = transformers.EncodecConfig(num_filters=4, hidden_size=8, codebook_dim=8, audio_channels=2)
    with pytest.raises(ValueError, match="24 kHz mono"):
        ForeignCodec(transformers.EncodecModel(stereo))
    codec = small("dac")
    with pytest.raises(ValueError, match="at least one sample"):
        codec.encode(torch.zeros(1, 0))
    with pytest.raises(ValueError, match="n_levels is 4; the codec has 1 to 3"):
        codec.encode(noise(1, 320), 4)
    with pytest.raises(ValueError, match=r"must lie in \[0, 16\)"):
        codec.decode(torch.full((1, 1, 1), 16))
    with pytest.raises(ValueError, match="1 to 3 levels"):
        codec.decode(torch.zeros(1, 4, 1, dtype=torch.int64))
    with pytest.raises(ValueError, match="no such codec here"):
        ForeignCodec.from_transformers(tmp_path / "none")
    codec.save(tmp_path, {})
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"kind": "dac"', '"kind": "mimi"'))
    with pytest.raises(CheckpointError, match="codec kind is 'mimi'"):
        load_foreign(tmp_path)
    config.write_text(config.read_text().replace('"kind": "mimi"', '"kind": "dac"'))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"audiolm-audit\[codecs\]"):
        load_foreign(tmp_path)
