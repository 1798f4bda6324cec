"""One token at a time: equal to the whole pass in every attention setting, in place, and without work that grows."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audiolm import incremental
from audiolm.graph_decoding import StaticDecoder
from audiolm.incremental import Decoder, decoder_for
from audiolm.transformer import Transformer, TransformerConfig

SHAPE = {"layers": 2, "heads": 2, "dim": 16, "ff_dim": 32, "dropout": 0.0}
SETTINGS = [
    TransformerConfig(**SHAPE, positions=p, norm=n, feed_forward=f, qk_norm=q)  # type: ignore[arg-type]
    for p, n, f, q in itertools.product(("t5", "rope"), ("layer", "rms"), ("plain", "gated"), (False, True))
]
EVERY = pytest.mark.parametrize(
    "config", SETTINGS, ids=lambda c: f"{c.positions}-{c.norm}-{c.feed_forward}-{c.qk_norm}"
)
DECODERS = pytest.mark.parametrize("kind", [Decoder, StaticDecoder])


def made(config: TransformerConfig, seed: int = 0) -> Transformer:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Transformer(config).eval()
        for weight in model.parameters():
            weight.data += 0.2 * torch.randn_like(weight)
    return model


def vectors(batch: int, tokens: int, seed: int = 1) -> torch.Tensor:
    return torch.randn((batch, tokens, 16), generator=torch.Generator().manual_seed(seed))


def decoded(decoder: Decoder, x: torch.Tensor, positions: torch.Tensor, prefix: int) -> torch.Tensor:
    """Outputs of the last prefix token and of all after it, ``[batch, token, dim]``."""
    parts = [decoder.read(x[:, :prefix], positions[:, :prefix])]
    parts += [decoder.step(x[:, i], positions[:, i]) for i in range(prefix, x.shape[1])]
    return torch.stack(parts, dim=1)


@EVERY
@DECODERS
@pytest.mark.parametrize("batch", [1, 5])
@torch.inference_mode()
def test_steps_equal_the_whole_pass(config: TransformerConfig, kind: type[Decoder], batch: int) -> None:
    model, x = made(config), vectors(batch, 12)
    positions = torch.arange(12).expand(batch, 12) - 2
    got = decoded(kind(model, model.cache(batch, 12)), x, positions, 4)
    torch.testing.assert_close(got, model(x, positions)[:, 3:], atol=1e-5, rtol=1e-5)


@EVERY
@DECODERS
@torch.inference_mode()
def test_a_padded_row_is_as_if_alone(config: TransformerConfig, kind: type[Decoder]) -> None:
    model, x = made(config), vectors(2, 12)
    positions = torch.stack((torch.arange(12) - 3, torch.arange(12)))
    valid = torch.ones((2, 5), dtype=torch.bool)
    valid[0, :3] = False
    got = decoded(kind(model, model.cache(2, 12, valid)), x, positions, 5)
    torch.testing.assert_close(got[:1], model(x[:1, 3:], positions[:1, 3:])[:, 1:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got[1:], model(x[1:], positions[1:])[:, 4:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("config", [SETTINGS[0], SETTINGS[-1]], ids=["paper", "fast"])
@DECODERS
@torch.inference_mode()
def test_far_distances_and_a_prefix_in_pieces(
    config: TransformerConfig, kind: type[Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond 128 tokens the T5 buckets are one; the prefix of 100 goes in pieces of 16."""
    monkeypatch.setattr(incremental, "MASK_VALUES", 1)
    model, x = made(config), vectors(1, 180)
    positions = torch.arange(180)[None]
    got = decoded(kind(model, model.cache(1, 180)), x, positions, 100)
    torch.testing.assert_close(got, model(x, positions)[:, 99:], atol=1e-5, rtol=1e-5)


@EVERY
@torch.inference_mode()
def test_strips_change_nothing(config: TransformerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, positions = made(config), vectors(5, 8), torch.arange(8).expand(5, 8)
    plain = decoded(Decoder(model, model.cache(5, 8)), x, positions, 2)
    monkeypatch.setattr(incremental, "SKINNY_WEIGHTS", 1)
    calls = []
    monkeypatch.setattr(incremental, "_by_strips", lambda s, x, f=incremental._by_strips: calls.append(1) or f(s, x))
    got = decoded(Decoder(model, model.cache(5, 8)), x, positions, 2)
    torch.testing.assert_close(got, plain, atol=1e-5, rtol=1e-5)
    assert len(calls) == 6 * 2 * 4  # steps, layers, matrices


@settings(max_examples=40, deadline=None)
@given(config=st.sampled_from(SETTINGS), at=st.integers(0, 19), seed=st.integers(0, 2**16))
@torch.inference_mode()
def test_later_input_never_changes_earlier_output(config: TransformerConfig, at: int, seed: int) -> None:
    model, x, positions = made(config), vectors(1, 20, seed), torch.arange(20)[None]
    changed = x.clone()
    changed[:, at, 0] += 1.0
    before, after = model(x, positions), model(changed, positions)
    assert torch.equal(before[:, :at], after[:, :at])
    assert not torch.allclose(before[:, at], after[:, at])


@torch.inference_mode()
def test_a_step_reads_bias_and_cache_in_place() -> None:
    """What attention gets are views: no mask, key or value is made anew, however much is cached."""
    model = made(SETTINGS[0])
    decoder = Decoder(model, model.cache(1, 50))
    assert decoder.bias is not None
    pairs, bias = decoder.cache.pairs.untyped_storage().data_ptr(), decoder.bias.untyped_storage().data_ptr()
    for at in range(50):
        mask, slots, seen = decoder._begin()
        assert mask is not None and mask.untyped_storage().data_ptr() == bias
        assert {view.untyped_storage().data_ptr() for view in (*slots, *seen)} == {pairs}
        assert mask.shape[-1] == seen[0].shape[3] == at + 1
        decoder.step(vectors(1, 1)[:, 0], torch.tensor([at]))
    assert decoder.cache.pairs.untyped_storage().data_ptr() == pairs
    with pytest.raises(ValueError, match="cache holds 50 tokens; 51 were given"):
        decoder.step(vectors(1, 1)[:, 0], torch.tensor([50]))


@torch.inference_mode()
def test_the_static_step_has_fixed_shapes() -> None:
    model = made(SETTINGS[0])
    decoder = StaticDecoder(model, model.cache(1, 9))
    shapes = set()
    for at in range(9):
        mask, slots, seen = decoder._begin()
        assert mask is not None
        shapes.add((mask.shape, slots[0].shape, seen[0].shape))
        decoder.step(vectors(1, 1)[:, 0], torch.tensor([at]))
    assert len(shapes) == 1


def test_a_transformer_in_training_is_refused() -> None:
    model = Transformer(TransformerConfig(**{**SHAPE, "dropout": 0.1}))
    with pytest.raises(ValueError, match="call eval"):
        decoder_for(model, model.cache(1, 2))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("config", [SETTINGS[0], SETTINGS[-1]], ids=["paper", "fast"])
@torch.inference_mode()
def test_the_cuda_graph_equals_the_whole_pass(config: TransformerConfig) -> None:
    model, x, positions = made(config).cuda(), vectors(2, 12).cuda(), torch.arange(12).expand(2, 12).cuda()
    got = decoded(decoder_for(model, model.cache(2, 12)), x, positions, 4)
    torch.testing.assert_close(got, model(x, positions)[:, 3:], atol=1e-4, rtol=1e-4)
