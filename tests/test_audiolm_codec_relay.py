"""Pieces of one recording on several threads: the result of one thread to the last bit, and no thread left waiting."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from audiolm.codec import CodecConfig
from audiolm.codec.incremental import incremental
from audiolm.codec.relay import in_relay
from audiolm.codec.seanet import SeanetDecoder, SeanetEncoder
from audiolm.row_groups import threads_each

CONFIG = CodecConfig(channels=2, latent_dim=8, n_levels=3, codebook_size=16)


@pytest.fixture(autouse=True)
def _threads_put_back() -> object:
    before = torch.get_num_threads()
    yield
    assert torch.get_num_threads() == before


def made(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return kind(CONFIG).eval()


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1)) * 0.1


def relayed(network: nn.Module, pieces: list[Tensor], threads: int) -> list[Tensor]:
    with threads_each(threads):
        return in_relay(network, pieces)


@pytest.mark.parametrize(("kind", "shape", "step"), [(SeanetEncoder, (2, 3200), 320), (SeanetDecoder, (2, 8, 23), 3)])
@torch.inference_mode()
def test_any_number_of_threads_gives_what_one_call_gives(kind: type[nn.Module], shape: tuple, step: int) -> None:
    network, x = made(kind), noise(*shape)
    twin, _ = incremental(network)
    pieces = list(x.split(step, dim=-1))
    alone = torch.cat(relayed(twin, pieces, 1), dim=-1)
    torch.testing.assert_close(alone, network(x), atol=1e-5, rtol=1e-5)
    for threads in (2, 3, 8, 40):
        assert torch.equal(torch.cat(relayed(twin, pieces, threads), dim=-1), alone)


@torch.inference_mode()
def test_a_twin_serves_many_recordings_at_once() -> None:
    twin, _ = incremental(made(SeanetEncoder))
    recordings = [noise(1, 1600) * level for level in (0.5, 1.0, 2.0)]
    alone = [relayed(twin, list(x.split(320, dim=-1)), 1) for x in recordings]

    @torch.inference_mode()
    def one(x: Tensor) -> list[Tensor]:
        return in_relay(twin, list(x.split(320, dim=-1)))

    with threads_each(2), ThreadPoolExecutor(3) as pool:
        for found, expected in zip(pool.map(one, recordings * 4), alone * 4, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


class Fails(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if float(x.abs().max()) > 50:
            raise ValueError("too loud")
        return x


@pytest.mark.parametrize("at", [0, 1, 4, 9])
@torch.inference_mode()
def test_an_error_comes_through_and_nobody_waits_for_ever(at: int) -> None:
    twin, _ = incremental(nn.Sequential(Fails(), made(SeanetDecoder)))  # it fails before any past is handed on
    pieces = [noise(1, 8, 3) for _ in range(10)]
    pieces[at] = pieces[at] * 1e9
    with pytest.raises((ValueError, RuntimeError), match="too loud|another piece"):
        relayed(twin, pieces, 3)


def test_overlapping_numbers_of_threads_end_at_the_first() -> None:
    before = torch.get_num_threads()
    first, second = threads_each(3), threads_each(1)
    first.__enter__()
    second.__enter__()
    assert torch.get_num_threads() == 1
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert torch.get_num_threads() == before
