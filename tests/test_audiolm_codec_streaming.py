"""Streaming equals one offline call, whatever the chunks; memory and delay are as stated."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from audiolm.codec import CodecConfig, SoundStream
from audiolm.codec.streaming import StreamingDecoder, StreamingEncoder

FRONT_ENDS = ("seanet", "spectral", "magnitude")
TOLERANCE = {"seanet": 1e-5, "spectral": 1e-5, "magnitude": 2e-3}
"""Projections of phase amplify rounding, which differs with the length of a chunk: the third is wider."""

CUTS = st.lists(st.sampled_from([0, 1, 7, 160, 319, 320, 321, 1000, 2500]), min_size=1, max_size=8)


@lru_cache
def codec(front_end: str) -> SoundStream:
    config = CodecConfig(
        front_end=front_end,
        channels=2,
        latent_dim=8,
        n_levels=3,
        codebook_size=16,
        encoder_channels=(8, 8),
        decoder_channels=(8, 8),
        encoder_units=(1, 3),
        decoder_units=(3, 1),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = SoundStream(config).eval()
    with torch.no_grad():
        latents = model.latents(noise(4, 16_000, seed=1)).transpose(1, 2).flatten(0, 1)
    model.quantizer.initialise(latents, torch.Generator().manual_seed(2))
    return model


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.1


def chunks(x: Tensor, cuts: list[int]) -> list[Tensor]:
    """``x`` along its last axis in pieces of these sizes, repeated until it ends (one at least is above 0)."""
    sizes, pieces, start = [*cuts, 3000], [], 0
    while start < x.shape[-1]:
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(x[..., start : start + size])
        start += size
    return pieces


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@given(cuts=CUTS, length=st.integers(1, 6000), batch=st.integers(1, 2))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_encoding_in_chunks_gives_the_offline_codes(front_end: str, cuts: list[int], length: int, batch: int) -> None:
    samples = noise(batch, length, seed=length)
    encoder = StreamingEncoder(codec(front_end))
    codes = torch.cat([*map(encoder.push, chunks(samples, cuts)), encoder.finish()], dim=2)
    assert torch.equal(codes, codec(front_end).encode(samples))


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@given(cuts=st.lists(st.integers(0, 9), min_size=1, max_size=6), frames=st.integers(1, 24), levels=st.integers(1, 3))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_decoding_in_chunks_gives_the_offline_samples(
    front_end: str, cuts: list[int], frames: int, levels: int
) -> None:
    codes = torch.randint(0, 16, (2, levels, frames), generator=torch.Generator().manual_seed(frames))
    decoder = StreamingDecoder(codec(front_end))
    samples = torch.cat([*map(decoder.push, chunks(codes, cuts)), decoder.finish()], dim=1)
    offline = codec(front_end).decode(codes)
    assert samples.shape == offline.shape
    assert float((samples - offline).abs().max()) <= TOLERANCE[front_end]
    assert float(offline.abs().max()) > 1e-3


@pytest.mark.parametrize(("front_end", "look_ahead"), [("seanet", 0), ("spectral", 480), ("magnitude", 960)])
def test_samples_come_out_as_late_as_the_look_ahead_says(front_end: str, look_ahead: int) -> None:
    decoder = StreamingDecoder(codec(front_end))
    assert decoder.look_ahead == look_ahead
    heard = 0
    for frame in range(1, 8):
        heard += decoder.push(torch.ones(1, 3, 1, dtype=torch.int64)).shape[1]
        assert heard == max(0, frame * 320 - look_ahead)
    assert decoder.finish().shape == (1, min(look_ahead, 7 * 320))


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_state_does_not_grow(front_end: str) -> None:
    encoder, decoder = StreamingEncoder(codec(front_end)), StreamingDecoder(codec(front_end))

    def held() -> int:
        pasts = [part.past for part in (*encoder._parts, *decoder._parts) if part.past is not None]
        tensors = []
        for past in pasts:
            fields = [past] if isinstance(past, Tensor) else [getattr(past, name) for name in past.__slots__]
            tensors += [field for field in fields if isinstance(field, Tensor)]
        return sum(tensor.untyped_storage().nbytes() for tensor in tensors)

    sizes = []
    for step in range(6):
        decoder.push(encoder.push(noise(1, 3200 if step else 640, seed=step)))
        sizes.append(held())
    assert sizes[1:] == sizes[:-1] and sizes[0] > 0


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_finish_makes_ready_for_the_next_stream(front_end: str) -> None:
    encoder, decoder = StreamingEncoder(codec(front_end), n_levels=2), StreamingDecoder(codec(front_end))
    first = torch.cat([encoder.push(noise(1, 1000, seed=3)), encoder.finish()], dim=2)
    heard = torch.cat([decoder.push(first), decoder.finish()], dim=1)
    again = torch.cat([encoder.push(noise(1, 1000, seed=3)), encoder.finish()], dim=2)
    assert first.shape == (1, 2, 4) and torch.equal(first, again)
    assert torch.equal(heard, torch.cat([decoder.push(again), decoder.finish()], dim=1))
    assert encoder.finish().shape == (1, 2, 0)
    assert decoder.finish().shape[1] == 0


def test_wrong_use_is_refused() -> None:
    encoder = StreamingEncoder(codec("seanet"))
    encoder.push(torch.zeros(2, 10))
    with pytest.raises(ValueError, match="batch is 1, the stream began with 2"):
        encoder.push(torch.zeros(1, 10))
    with pytest.raises(ValueError, match="give .batch, time."):
        encoder.push(torch.zeros(10))
    with pytest.raises(ValueError, match="n_levels is 4; the codec has 1 to 3"):
        StreamingEncoder(codec("seanet"), n_levels=4)


def test_offline_runs_follow_the_weights_and_do_not_meet() -> None:
    model = copy.deepcopy(codec("seanet"))
    samples = noise(2, 40_000, seed=5)
    with torch.no_grad():
        plain = model.quantizer.encode(model.latents(samples))
        assert agreement(model.encode(samples), plain) > 0.99  # two codes may be equally near within rounding
        assert float((model.decode(plain) - model.decoder(model.quantizer.decode(plain))).abs().max()) < 1e-5
        for weight in model.parameters():
            weight.mul_(1.5)
        assert agreement(model.encode(samples), model.quantizer.encode(model.latents(samples))) > 0.99
        assert agreement(model.encode(samples), plain) < 0.8
    halves = [samples[:1], samples[1:]] * 4
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(model.encode, halves))
    assert all(torch.equal(codes, model.encode(half)) for codes, half in zip(together, halves, strict=True))
    assert torch.equal(copy.deepcopy(model).encode(samples), model.encode(samples))


def agreement(a: Tensor, b: Tensor) -> float:
    return float((a == b).float().mean())
