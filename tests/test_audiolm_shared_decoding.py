"""One row's step on several threads together: the whole pass's numbers, whatever the number of threads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from audiolm import incremental
from audiolm.incremental import Decoder, decoder_for
from audiolm.precision import Int8Linear, check_precision, compress
from audiolm.transformer import Transformer, TransformerConfig

pytest.importorskip("numba")
from audiolm import compiled_tiles, shared_decoding  # noqa: E402
from audiolm.compiled_decoding import CompiledDecoder  # noqa: E402
from audiolm.shared_decoding import SharedDecoder  # noqa: E402

DIM, TOKENS = 60, 40
SETTINGS = [
    TransformerConfig(
        layers=2, heads=5, dim=DIM, ff_dim=70, dropout=0.0, positions=p, norm=n, feed_forward=f, qk_norm=q
    )  # type: ignore[arg-type]
    for p, n, f, q in itertools.product(("t5", "rope"), ("layer", "rms"), ("plain", "gated"), (False, True))
]
"""Five heads of width 12 and an inner width that no number of threads divides."""
EVERY = pytest.mark.parametrize(
    "config", SETTINGS, ids=lambda c: f"{c.positions}-{c.norm}-{c.feed_forward}-{c.qk_norm}"
)
POSITIONS = torch.arange(TOKENS)[None] - 2


def made(config: TransformerConfig) -> Transformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transformer(config).eval().requires_grad_(False)
        for weight in model.parameters():
            weight += 0.2 * torch.randn_like(weight)
    return model


def vectors(rows: int = 1) -> torch.Tensor:
    return torch.randn((rows, TOKENS, DIM), generator=torch.Generator().manual_seed(1))


def on(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(shared_decoding, "_processors", lambda: threads)


def decoded(decoder: Decoder, x: torch.Tensor, positions: torch.Tensor = POSITIONS, prefix: int = 30) -> torch.Tensor:
    parts = [decoder.read(x[:, :prefix], positions[:, :prefix])]
    parts += [decoder.step(x[:, i], positions[:, i]) for i in range(prefix, x.shape[1])]
    return torch.stack(parts, dim=1)


@EVERY
@torch.inference_mode()
def test_steps_equal_the_whole_pass_on_any_number_of_threads(
    config: TransformerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = made(config), vectors()
    whole, found = model(x, POSITIONS)[:, 29:], []
    for threads in (1, 2, 3):
        on(threads, monkeypatch)
        decoder = SharedDecoder(model, model.cache(1, TOKENS))
        assert decoder.threads == threads
        found.append(decoded(decoder, x))
        torch.testing.assert_close(found[-1], whole, atol=1e-5, rtol=1e-5)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])


@EVERY
@pytest.mark.parametrize("rows", [2, 3, 8])
@torch.inference_mode()
def test_a_few_rows_equal_the_whole_pass(config: TransformerConfig, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, positions = made(config), vectors(rows), POSITIONS.expand(rows, -1)
    whole = model(x, positions)[:, 29:]
    for threads in (1, 3):
        on(threads, monkeypatch)
        got = decoded(SharedDecoder(model, model.cache(rows, TOKENS)), x, positions)
        torch.testing.assert_close(got, whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("outputs", "columns"), [(4, 16), (7, 5), (12, 1024), (9, 1300), (1, 1)])
@pytest.mark.parametrize("add", [False, True])
def test_products_with_pairs_of_rows_have_no_gaps(outputs: int, columns: int, add: bool) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(outputs, columns)).astype(np.float32)
    x, out = rng.normal(size=(4, columns)).astype(np.float32), rng.normal(size=(4, outputs)).astype(np.float32)
    expected = x.astype(np.float64) @ matrix.T.astype(np.float64) + (out if add else 0)
    middle = outputs // 3
    compiled_tiles.times_pairs(matrix, x, out, 0, middle, add)
    compiled_tiles.times_pairs(matrix, x, out, middle, outputs, add)
    np.testing.assert_allclose(out, expected, atol=1e-4)


@torch.inference_mode()
def test_more_threads_than_heads_or_processors_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(SETTINGS[0])
    on(9, monkeypatch)
    assert SharedDecoder(model, model.cache(1, 2)).threads == 5
    monkeypatch.setattr(shared_decoding, "_processors", lambda: 2)
    assert SharedDecoder(model, model.cache(1, 2)).threads == 2


@EVERY
@torch.inference_mode()
def test_padding_on_the_left_is_not_seen(config: TransformerConfig) -> None:
    model, x = made(config), vectors()
    valid = torch.ones((1, 30), dtype=torch.bool)
    valid[0, :3] = False
    got = decoded(SharedDecoder(model, model.cache(1, TOKENS, valid)), x)
    torch.testing.assert_close(got, model(x[:, 3:], POSITIONS[:, 3:])[:, 26:], atol=1e-5, rtol=1e-5)


def int8_works() -> bool:
    try:
        check_precision("int8", "cpu")
    except ValueError:
        return False
    return True


@pytest.mark.skipif(not int8_works(), reason="no 8-bit arithmetic on this processor")
@EVERY
@torch.inference_mode()
def test_int8_is_what_the_int8_layers_give_to_rows_together(
    config: TransformerConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x = made(config), vectors()
    exact = model(x, POSITIONS)[:, 29:]
    compress(model, "int8")
    on(2, monkeypatch)
    decoder = SharedDecoder(model, model.cache(1, TOKENS))
    got, whole = decoded(decoder, x), model(x, POSITIONS)[:, 29:]
    # a sum that differs in its last bit may round an input to the next step now and then
    assert float((got - whole).norm() / whole.norm()) < 0.1 * float((exact - whole).norm() / exact.norm())


@pytest.mark.skipif(not int8_works(), reason="no 8-bit arithmetic on this processor")
def test_int8_sums_are_exact_at_the_largest_values() -> None:
    config = TransformerConfig(layers=1, heads=1, dim=1200, ff_dim=4, dropout=0.0, norm="rms")
    model = Transformer(config).eval().requires_grad_(False)
    block = model.blocks[0]
    block.attention.qkv.weight[:] = 1.0  # type: ignore[union-attr]
    compress(model, "int8")
    decoder = SharedDecoder(model, model.cache(1, 2))
    decoder.step(torch.full((1, 1200), 3.0), torch.zeros(1, dtype=torch.int64))
    torch.testing.assert_close(decoder.cache.pairs[0, 0, :, 0, 0], torch.full((2, 1200), 1200.0), rtol=1e-5, atol=0)


@torch.inference_mode()
def test_few_rows_of_a_large_network_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(SETTINGS[-1])
    monkeypatch.setattr(incremental, "SMALL_WEIGHTS", 100)
    assert type(decoder_for(model, model.cache(1, 2))) is SharedDecoder
    assert type(decoder_for(model, model.cache(8, 2))) is SharedDecoder
    assert type(decoder_for(model, model.cache(9, 2))) is CompiledDecoder
    with pytest.raises(ValueError, match="up to 8 of float32; use CompiledDecoder"):
        SharedDecoder(model, model.cache(9, 2))
    monkeypatch.setattr(shared_decoding.os, "name", "nt")
    assert type(decoder_for(model, model.cache(1, 2))) is CompiledDecoder


@torch.inference_mode()
def test_mixed_or_half_precision_does_not() -> None:
    model = made(SETTINGS[0])
    model.blocks[0].ff.up.weight.data = model.blocks[0].ff.up.weight.data.bfloat16()  # type: ignore[union-attr]
    assert not SharedDecoder.takes(model, 1)
    if int8_works():
        model = made(SETTINGS[0])
        model.blocks[0].ff.up = Int8Linear(model.blocks[0].ff.up.weight)  # type: ignore[union-attr]
        assert not SharedDecoder.takes(model, 1)


@torch.inference_mode()
def test_a_full_cache_is_refused_and_the_decoder_goes_on_from_a_shorter_one() -> None:
    model, x = made(SETTINGS[0]), vectors()
    decoder = SharedDecoder(model, model.cache(1, 1))
    first = decoder.step(x[:, 0], POSITIONS[:, 0])
    with pytest.raises(ValueError, match="cache holds 1 tokens; 2 were given"):
        decoder.step(x[:, 1], POSITIONS[:, 1])
    decoder.cache.length = 0
    assert torch.equal(decoder.step(x[:, 0], POSITIONS[:, 0]), first)
