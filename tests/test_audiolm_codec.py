"""The codec: causality, lengths, code range, codebooks that stay alive, gradients, storage."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch

from audiolm.checkpoint import CheckpointError, config_to_dict, save_part
from audiolm.codec import CodecConfig, SoundStream, nano_codec, paper_codec
from audiolm.codec.losses import MelLoss, SpectralLoss
from audiolm.codec.quantizer import ResidualQuantizer, _nearest

FRONT_ENDS = ("seanet", "spectral")
"""Those that train on waveforms."""
EVERY = pytest.mark.parametrize("front_end", (*FRONT_ENDS, "magnitude"))


def tiny(front_end: str) -> CodecConfig:
    return CodecConfig(
        front_end=front_end,
        channels=4,
        latent_dim=8,
        n_levels=3,
        codebook_size=16,
        encoder_channels=(16, 16),
        decoder_channels=(16, 16),
        encoder_units=(1, 1),
        decoder_units=(1, 1),
    )


def fresh(front_end: str) -> SoundStream:
    """A codec of its own, for a test that changes it."""
    torch.manual_seed(0)
    codec = SoundStream(tiny(front_end))
    noise = torch.randn(4, 16_000, generator=torch.Generator().manual_seed(1)) * 0.1
    with torch.no_grad():
        latents = codec.latents(noise).transpose(1, 2).flatten(0, 1)
    codec.quantizer.initialise(latents, torch.Generator().manual_seed(2))
    return codec.eval()


ready = lru_cache(fresh)
"""The same codec for all tests that only look at it."""


def test_paper_preset_is_six_kilobits_at_fifty_frames() -> None:
    config = paper_codec()
    assert (config.hop, config.frame_rate_hz, config.bitrate_bps) == (320, 50.0, 6000.0)
    assert nano_codec().bitrate_bps == 6000.0


@EVERY
@pytest.mark.parametrize("length", [1, 319, 320, 321, 3200, 5001])
def test_lengths_and_code_range(front_end: str, length: int) -> None:
    codec = ready(front_end)
    samples = torch.randn(2, length, generator=torch.Generator().manual_seed(3)) * 0.1
    codes = codec.encode(samples)
    frames = -(-length // 320)
    assert codes.shape == (2, 3, frames)
    assert codes.dtype == torch.int64
    assert 0 <= int(codes.min()) and int(codes.max()) < 16
    assert codec.decode(codes).shape == (2, frames * 320)


@EVERY
def test_no_samples_is_refused(front_end: str) -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        ready(front_end).encode(torch.zeros(1, 0))


@EVERY
def test_encoder_is_causal(front_end: str) -> None:
    codec = ready(front_end)
    samples = torch.randn(1, 6400, generator=torch.Generator().manual_seed(4)) * 0.1
    changed = samples.clone()
    changed[:, 3200:] += 0.5
    with torch.no_grad():
        before, after = codec.latents(samples), codec.latents(changed)
    assert torch.equal(before[..., :10], after[..., :10])
    assert not torch.allclose(before[..., 10:], after[..., 10:])


@pytest.mark.parametrize(("front_end", "look_ahead"), [("seanet", 0), ("spectral", 640 - 160), ("magnitude", 960)])
def test_decoder_sees_no_more_than_its_stated_look_ahead(front_end: str, look_ahead: int) -> None:
    codec = ready(front_end)
    codes = torch.randint(0, 16, (1, 3, 20), generator=torch.Generator().manual_seed(5))
    changed = codes.clone()
    changed[..., 10:] = (changed[..., 10:] + 1) % 16
    before, after = codec.decode(codes), codec.decode(changed)
    boundary = 10 * 320 - look_ahead
    assert torch.allclose(before[:, :boundary], after[:, :boundary], atol=1e-6)
    assert not torch.allclose(before[:, boundary:], after[:, boundary:], atol=1e-4)


def test_any_number_of_levels_decodes_and_more_levels_come_closer() -> None:
    codec = ready("spectral")
    samples = torch.randn(1, 16_000, generator=torch.Generator().manual_seed(6)) * 0.1
    with torch.no_grad():
        latents = codec.latents(samples)
    codes = codec.encode(samples)
    errors = [float((codec.quantizer.decode(codes[:, :levels]) - latents).square().mean()) for levels in (1, 2, 3)]
    assert errors[0] > errors[1] > errors[2]
    assert torch.equal(codec.encode(samples, n_levels=2), codes[:, :2])


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (torch.zeros(1, 4, 5, dtype=torch.int64), "1 to 3 levels"),
        (torch.zeros(3, 5, dtype=torch.int64), "give .batch, level, frame."),
        (torch.full((1, 3, 5), 16), "must lie in .0, 16."),
        (torch.full((1, 3, 5), -1), "must lie in .0, 16."),
    ],
)
def test_bad_codes_are_refused(codes: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ready("spectral").decode(codes)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_gradient_reaches_every_weight(front_end: str) -> None:
    codec = fresh(front_end).train()
    samples = torch.randn(2, 6400, generator=torch.Generator().manual_seed(7)) * 0.1
    output, quantized = codec(samples, generator=torch.Generator().manual_seed(8))
    assert quantized is not None
    loss = MelLoss(16_000)(output, samples) + SpectralLoss()(output, samples) + quantized.commitment
    loss.backward()
    silent = [name for name, p in codec.named_parameters() if p.grad is None or not float(p.grad.abs().sum()) > 0]
    assert silent == []


def test_reconstruction_losses_vanish_on_identity_only() -> None:
    samples = torch.randn(1, 8000, generator=torch.Generator().manual_seed(9)) * 0.1
    for loss in (MelLoss(16_000), SpectralLoss()):
        assert float(loss(samples, samples)) == 0.0
        assert float(loss(samples * 0.5, samples)) > 0.01


def test_kmeans_start_recovers_separated_clusters() -> None:
    rng = np.random.default_rng(0)
    centres = torch.from_numpy(rng.normal(0, 10, (16, 8)).astype(np.float32))
    vectors = centres.repeat(40, 1) + torch.from_numpy(rng.normal(0, 0.01, (640, 8)).astype(np.float32))
    quantizer = ResidualQuantizer(tiny("spectral"))
    quantizer.initialise(vectors, torch.Generator().manual_seed(0))
    error = (quantizer.decode(quantizer.encode(vectors.T[None]))[0].T - vectors).square().mean()
    assert float(error) < float(vectors.var()) * 0.01


@pytest.mark.parametrize("size", [2, 31, 32, 64, 1000, 1024])
def test_nearest_code_is_that_of_plain_distances_and_the_first_of_equals(size: int) -> None:
    generator = torch.Generator().manual_seed(size)
    centroids = torch.randn(size, 8, generator=generator)
    vectors = torch.randn(300, 8, generator=generator)
    assert torch.equal(_nearest(vectors, centroids), torch.cdist(vectors.double(), centroids.double()).argmin(dim=1))
    twice = torch.cat([centroids, centroids])
    assert torch.equal(_nearest(centroids, twice), torch.arange(size))


def test_too_few_vectors_for_a_codebook_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot start a codebook of 16"):
        ResidualQuantizer(tiny("spectral")).initialise(torch.zeros(5, 8), torch.Generator())


def test_dead_codes_are_restarted() -> None:
    quantizer = ResidualQuantizer(tiny("spectral"))
    near = torch.randn(400, 8, generator=torch.Generator().manual_seed(1))
    quantizer.initialise(near, torch.Generator().manual_seed(1))
    quantizer.train()
    generator = torch.Generator().manual_seed(2)
    for step in range(400):
        latents = torch.randn(2, 8, 100, generator=torch.Generator().manual_seed(step)) + 50.0
        quantizer(latents, generator=generator)
    quantizer.eval()
    codes = quantizer.encode(torch.randn(8, 8, 100, generator=torch.Generator().manual_seed(999)) + 50.0)
    used = len(torch.unique(codes[:, 0]))
    assert used >= 14, f"{used} of 16 codes in use after the input moved away from all of them"


def test_straight_through_and_dropout() -> None:
    codec = fresh("spectral")
    latents = torch.randn(64, 8, 5, generator=torch.Generator().manual_seed(3), requires_grad=True)
    codec.quantizer.train()
    result = codec.quantizer(latents, generator=torch.Generator().manual_seed(4))
    result.latents.sum().backward()
    assert latents.grad is not None and torch.equal(latents.grad, torch.ones_like(latents))
    codec.quantizer.eval()
    full = codec.quantizer(latents.detach()).latents
    assert torch.allclose(full, codec.quantizer.decode(codec.quantizer.encode(latents.detach())), atol=1e-5)


def test_stored_codec_gives_the_same_codes(tmp_path) -> None:
    codec = ready("spectral")
    save_part(
        tmp_path,
        part="codec",
        config=config_to_dict(codec.config),
        state_dict=codec.state_dict(),
        record={"steps": 0},
        half=False,
    )
    loaded = SoundStream.load(tmp_path)
    samples = torch.randn(1, 4000, generator=torch.Generator().manual_seed(5)) * 0.1
    assert torch.equal(loaded.encode(samples), codec.encode(samples))
    weights = tmp_path / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="changed"):
        SoundStream.load(tmp_path)
