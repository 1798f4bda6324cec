"""The decoder: causal, cached equals whole, padding does not leak, against attention written out by hand."""

from __future__ import annotations

import pytest
import torch

from audiolm.transformer import Transformer, TransformerConfig

SHAPE = {"layers": 2, "heads": 2, "dim": 16, "ff_dim": 24, "dropout": 0.0}
FAST = TransformerConfig(**SHAPE, positions="rope", norm="rms", feed_forward="gated", qk_norm=True)
PAPER = TransformerConfig(**SHAPE)
BOTH = pytest.mark.parametrize("config", [FAST, PAPER], ids=["fast", "paper"])


def made(config: TransformerConfig) -> Transformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transformer(config).eval()
        for weight in model.parameters():
            weight.data += 0.2 * torch.randn_like(weight)
    return model


def vectors(batch: int, tokens: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn((batch, tokens, 16), generator=torch.Generator().manual_seed(seed))
    return x, torch.arange(tokens).expand(batch, tokens)


@BOTH
@pytest.mark.parametrize("prefix", [1, 2, 150])
@torch.inference_mode()
def test_cached_equals_whole(config: TransformerConfig, prefix: int) -> None:
    model = made(config)
    x, positions = vectors(2, 160)
    cache = model.cache(2, 160)
    parts = [model(x[:, :prefix], positions[:, :prefix], cache)]
    parts += [model(x[:, i : i + 1], positions[:, i : i + 1], cache) for i in range(prefix, 160)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(x, positions), atol=1e-5, rtol=1e-5)


@BOTH
@torch.inference_mode()
def test_left_padding_changes_nothing(config: TransformerConfig) -> None:
    model = made(config)
    x, positions = vectors(1, 12)
    junk, _ = vectors(2, 5, seed=9)
    other, _ = vectors(1, 17, seed=3)
    padded = torch.cat([torch.cat([junk[:1], x], dim=1), other])
    places = torch.stack([torch.cat([torch.zeros(5, dtype=torch.long), positions[0]]), torch.arange(17)])
    valid = torch.ones((2, 14), dtype=torch.bool)
    valid[0, :5] = False
    cache = model.cache(2, 17, valid)
    parts = [model(padded[:, :14], places[:, :14], cache)]
    parts += [model(padded[:, i : i + 1], places[:, i : i + 1], cache) for i in range(14, 17)]
    got = torch.cat(parts, dim=1)
    assert bool(torch.isfinite(got).all())
    torch.testing.assert_close(got[:1, 5:], model(x, positions), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got[1:], model(other, torch.arange(17)[None]), atol=1e-5, rtol=1e-5)


@BOTH
@pytest.mark.parametrize("at", [0, 7, 19])
@torch.inference_mode()
def test_later_input_never_changes_earlier_output(config: TransformerConfig, at: int) -> None:
    model = made(config)
    x, positions = vectors(1, 20)
    changed = x.clone()
    changed[:, at, 0] += 1.0
    before, after = model(x, positions), model(changed, positions)
    assert torch.equal(before[:, :at], after[:, :at])
    assert not torch.allclose(before[:, at], after[:, at])


@torch.inference_mode()
def test_rotary_output_depends_on_position_differences_only() -> None:
    model = made(FAST)
    x, positions = vectors(1, 10)
    torch.testing.assert_close(model(x, positions), model(x, positions + 100), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(model(x, positions), model(x, positions * 2), atol=1e-3)


@torch.inference_mode()
def test_t5_attention_against_a_loop() -> None:
    config = TransformerConfig(layers=1, heads=2, dim=16, ff_dim=24, dropout=0.0)
    model = made(config)
    attention, bias = model.blocks[0].attention, model.get_submodule("bias")
    x, _ = vectors(1, 6)
    q, k, v = attention.qkv(x)[0].view(6, 3, 2, 8).unbind(1)  # type: ignore[operator]
    expected = torch.zeros(6, 2, 8)
    for head in range(2):
        for query in range(6):
            scores = torch.stack(
                [
                    q[query, head] @ k[key, head] / 8**0.5 + bias.get_parameter("weight")[query - key, head]
                    for key in range(query + 1)
                ]
            )
            expected[query, head] = torch.softmax(scores, 0) @ v[: query + 1, head]
    mask = model.mask(0, 6, None, x.device)
    got = attention(x, None, mask, None, 0)  # type: ignore[operator]
    torch.testing.assert_close(got[0], attention.out(expected.reshape(6, 16)), atol=1e-5, rtol=1e-5)  # type: ignore[operator]


def test_a_full_cache_is_an_error() -> None:
    model = made(FAST)
    x, positions = vectors(1, 3)
    with pytest.raises(ValueError, match="cache holds 2 tokens; 3 were given"):
        model(x, positions, model.cache(1, 2))


def test_the_cache_never_moves() -> None:
    model = made(FAST)
    x, positions = vectors(1, 6)
    cache = model.cache(1, 6)
    place = cache.keys.data_ptr()
    with torch.inference_mode():
        for i in range(6):
            model(x[:, i : i + 1], positions[:, i : i + 1], cache)
    assert (cache.keys.data_ptr(), cache.length) == (place, 6)


@pytest.mark.parametrize(("config", "matrices"), [(PAPER, 2), (FAST, 3)])
def test_a_block_has_the_expected_weights(config: TransformerConfig, matrices: int) -> None:
    block = Transformer(config).blocks[0]
    assert sum(p.numel() for p in block.parameters() if p.ndim > 1) == 4 * 16**2 + matrices * 16 * 24


@pytest.mark.parametrize(("change", "message"), [({"dim": 15}, "even head width"), ({"dropout": 1.0}, "dropout is 1")])
def test_impossible_shapes_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**{**SHAPE, **change})  # type: ignore[arg-type]
