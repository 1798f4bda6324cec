"""The compiled step for small networks: the whole pass's numbers, row by row, whatever stands beside a row."""

from __future__ import annotations

import builtins
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from audiolm import incremental, row_groups
from audiolm.incremental import Decoder, decoder_for, is_small
from audiolm.transformer import Transformer, TransformerConfig

pytest.importorskip("numba")
from audiolm import compiled_basis, compiled_decoding, compiled_kernels  # noqa: E402
from audiolm.compiled_decoding import CompiledDecoder, SmallDecoder  # noqa: E402

SHAPE = {"layers": 2, "heads": 2, "dim": 20, "ff_dim": 30, "dropout": 0.0}
"""Head width 10, matrices of 60, 20 and 30 rows: no round numbers, so that every remainder of a loop is taken."""
SETTINGS = [
    TransformerConfig(**SHAPE, positions=p, norm=n, feed_forward=f, qk_norm=q)  # type: ignore[arg-type]
    for p, n, f, q in itertools.product(("t5", "rope"), ("layer", "rms"), ("plain", "gated"), (False, True))
]
EVERY = pytest.mark.parametrize(
    "config", SETTINGS, ids=lambda c: f"{c.positions}-{c.norm}-{c.feed_forward}-{c.qk_norm}"
)


def made(config: TransformerConfig) -> Transformer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transformer(config).eval()
        for weight in model.parameters():
            weight.data += 0.2 * torch.randn_like(weight)
    return model


def vectors(batch: int, tokens: int, seed: int = 1) -> torch.Tensor:
    return torch.randn((batch, tokens, SHAPE["dim"]), generator=torch.Generator().manual_seed(seed))  # type: ignore[arg-type]


def decoded(decoder: Decoder, x: torch.Tensor, positions: torch.Tensor, prefix: int) -> torch.Tensor:
    parts = [decoder.read(x[:, :prefix], positions[:, :prefix])]
    parts += [decoder.step(x[:, i], positions[:, i]) for i in range(prefix, x.shape[1])]
    return torch.stack(parts, dim=1)


KINDS = pytest.mark.parametrize("kind", [CompiledDecoder, SmallDecoder])


@EVERY
@KINDS
@pytest.mark.parametrize("batch", [1, 5])
@torch.inference_mode()
def test_steps_equal_the_whole_pass(config: TransformerConfig, kind: type[Decoder], batch: int) -> None:
    model, x = made(config), vectors(batch, 150)
    positions = torch.arange(150).expand(batch, 150) - 2
    got = decoded(kind(model, model.cache(batch, 150)), x, positions, 139)
    torch.testing.assert_close(got, model(x, positions)[:, 138:], atol=1e-5, rtol=1e-5)


@EVERY
@pytest.mark.parametrize("own", [2**18, 0], ids=["compiled", "torch"])
@torch.inference_mode()
def test_a_padded_row_by_either_attention(config: TransformerConfig, own: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_decoding, "OWN_ATTENTION", own)
    model, x = made(config), vectors(2, 12)
    positions = torch.stack((torch.arange(12) - 3, torch.arange(12)))
    valid = torch.ones((2, 5), dtype=torch.bool)
    valid[0, :3] = False
    got = decoded(CompiledDecoder(model, model.cache(2, 12, valid)), x, positions, 5)
    torch.testing.assert_close(got[:1], model(x[:1, 3:], positions[:1, 3:])[:, 1:], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(got[1:], model(x[1:], positions[1:])[:, 4:], atol=1e-5, rtol=1e-5)


@EVERY
@torch.inference_mode()
def test_a_padded_row_is_as_if_alone_to_the_last_bit_of_a_step(config: TransformerConfig) -> None:
    model, x = made(config), vectors(2, 12)
    positions = torch.stack((torch.arange(12) - 3, torch.arange(12)))
    valid = torch.ones((2, 5), dtype=torch.bool)
    valid[0, :3] = False
    together = SmallDecoder(model, model.cache(2, 12, valid))
    got = decoded(together, x, positions, 5)
    torch.testing.assert_close(got[:1], model(x[:1, 3:], positions[:1, 3:])[:, 1:], atol=1e-5, rtol=1e-5)
    alone = SmallDecoder(model, model.cache(1, 12))
    alone.read(x[1:, :5], positions[1:, :5])
    alone.cache.pairs[..., :5, :] = together.cache.pairs[:, 1:, :, :, :5]  # the prefix is not the step's doing
    for at in range(5, 12):
        assert torch.equal(alone.step(x[1:, at], positions[1:, at]), got[1:, at - 4])


@torch.inference_mode()
def test_one_compilation_serves_every_setting_and_batch() -> None:
    for config, batch in itertools.product((SETTINGS[0], SETTINGS[-1]), (1, 3)):
        model = made(config)
        positions = torch.arange(4).expand(batch, 4)
        decoded(SmallDecoder(model, model.cache(batch, 4)), vectors(batch, 4), positions, 1)
    assert len(compiled_decoding._step.signatures) == 1


def test_the_exponential_is_exact_to_rounding() -> None:
    x = np.linspace(-87, 87, 100_001, dtype=np.float32)
    got = x.copy()
    compiled_kernels.exponential(got, len(got), np.empty(len(got), dtype=np.int32))
    np.testing.assert_allclose(got, np.exp(x.astype(np.float64)), rtol=4e-7)
    far = np.array([-np.inf, -1e4, 0.0], dtype=np.float32)
    compiled_kernels.exponential(far, 3, np.empty(3, dtype=np.int32))
    assert far[2] == 1 and (far[:2] < 1e-37).all()


def test_small_float32_networks_on_a_cpu_take_it_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(SETTINGS[-1])
    assert is_small(model) and type(decoder_for(model, model.cache(1, 2))) is SmallDecoder
    monkeypatch.setattr(incremental, "SMALL_WEIGHTS", 100)
    assert not is_small(model) and type(decoder_for(model, model.cache(9, 2))) is CompiledDecoder


def test_without_numba_the_step_is_that_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "audiolm.compiled_decoding":
            raise ImportError("numba needs another numpy")
        return whole(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    incremental._compiled_decoders.cache_clear()
    model = made(SETTINGS[0])
    assert type(decoder_for(model, model.cache(1, 2))) is Decoder
    incremental._compiled_decoders.cache_clear()


def test_where_no_folder_can_be_written_it_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def njit(function: Any, *, cache: bool, **_more: Any) -> Any:
        tried.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return function

    monkeypatch.setattr(compiled_basis.numba, "njit", njit)
    assert compiled_basis.compiled(print) is print and tried == [True, False]


@torch.inference_mode()
def test_padding_in_the_middle_and_a_full_cache_are_refused() -> None:
    model = made(SETTINGS[0])
    with pytest.raises(ValueError, match="padded elsewhere than on the left"):
        CompiledDecoder(model, model.cache(1, 4, torch.tensor([[True, False, True]])))
    decoder = CompiledDecoder(model, model.cache(1, 1))
    decoder.step(vectors(1, 1)[:, 0], torch.tensor([0]))
    with pytest.raises(ValueError, match="cache holds 1 tokens; 2 were given"):
        decoder.step(vectors(1, 1)[:, 0], torch.tensor([1]))


@pytest.mark.parametrize("rows", [1, 4, 5, 9])
def test_groups_cover_the_rows_in_order_on_any_number_of_threads(rows: int) -> None:
    seen = []

    def draw(group: list[int]) -> list[np.ndarray]:
        assert torch.get_num_threads() == 1
        seen.append(tuple(group))
        return [np.array([i]) for i in group]

    cuts = []
    for threads in (1, 2):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            drawn = row_groups.by_groups(draw, rows, small=True)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        assert [int(row[0]) for row in drawn] == list(range(rows))
        cuts.append(sorted(seen))
        seen.clear()
    assert cuts[0] == cuts[1] and max(map(len, cuts[0])) <= row_groups.GROUP_ROWS


def test_a_large_network_takes_all_rows_at_once_and_an_error_comes_through() -> None:
    assert row_groups.by_groups(lambda group: [np.array(group)] * len(group), 9, small=False)[0].tolist() == list(
        range(9)
    )

    def fails(_group: list[int]) -> list[np.ndarray]:
        raise ValueError("no room")

    with pytest.raises(ValueError, match="no room"):
        row_groups.by_groups(fails, 9, small=True)
