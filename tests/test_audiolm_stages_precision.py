"""Weights in fewer bits: close to float32, row by row, refused where they cannot be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from audiolm import precision
from audiolm.precision import BFloat16Linear, Int8Linear, check_precision, compress, fastest
from audiolm.sampling import StageSampling
from audiolm.stages import Stage, nano_stage
from audiolm.windows import row_generator


def supported(kind: str) -> bool:
    try:
        check_precision(kind, "cpu")
    except ValueError:
        return False
    return True


INT8 = pytest.mark.skipif(not supported("int8"), reason="no 8-bit arithmetic on this processor")
REDUCED = pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.skipif(not supported(k), reason=k)) for k in ("bfloat16", "int8")]
)


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def stage(kind: str = "coarse") -> Stage:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Stage(nano_stage(kind, n_semantic=32, codebook_size=64)).eval()
        for weight in made.transformer.parameters():
            weight.data += 0.02 * torch.randn_like(weight)
    return made


@pytest.mark.parametrize("kind", [Int8Linear, BFloat16Linear])
@pytest.mark.parametrize("rows", [1, 3, 40])
def test_a_matrix_in_fewer_bits_is_close(kind: type[Int8Linear] | type[BFloat16Linear], rows: int) -> None:
    if not supported("int8" if kind is Int8Linear else "bfloat16"):
        pytest.skip("not on this processor")
    weight, x = normal(48, 64), normal(rows, 64, seed=1) * torch.logspace(-6, 6, rows)[:, None]
    exact = x @ weight.T
    error = (kind(weight)(x) - exact).norm(dim=-1) / exact.norm(dim=-1)
    assert float(error.max()) < 0.02  # each row, whatever its size


@INT8
def test_int8_rows_do_not_see_each_other() -> None:
    linear, x = Int8Linear(normal(48, 64)), normal(9, 64, seed=1)
    loud = torch.cat((x, 1e4 * normal(3, 64, seed=2)))
    assert torch.equal(linear(loud)[:9], linear(x))
    assert torch.equal(linear(x[4:5])[0], linear(x)[4])
    assert torch.equal(linear(torch.zeros(1, 64)), torch.zeros(1, 48))


@INT8
def test_int8_without_vnni_does_not_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    weight, x = torch.ones(16, 64), torch.ones(1, 64)
    torch.testing.assert_close(Int8Linear(weight)(x), x @ weight.T, rtol=1e-3, atol=1e-3)


@REDUCED
def test_a_compressed_stage_loses_little_and_samples_legal_codes(kind: precision.Precision) -> None:
    full, less = stage(), stage().compress(kind)
    rng = np.random.default_rng(0)
    condition, target = rng.integers(0, 32, 20), rng.integers(0, 64, (4, 40))
    batch = full.batch([condition], [target], [False])
    with torch.inference_mode():
        before, after = float(full.loss(batch).loss), float(less.loss(batch).loss)
    assert before != after
    assert after == pytest.approx(before, rel=0.01)
    drawn = less.sample([condition], [target[:, :5]], [8], StageSampling(), [row_generator(0)])[0]
    assert drawn.shape == (4, 8) and drawn.min() >= 0 and drawn.max() < 64


@INT8
def test_int8_rows_are_drawn_as_if_alone() -> None:
    less = stage().compress("int8")
    conditions = [np.arange(10) % 32, np.arange(6)[::-1].copy()]
    known = [np.zeros((4, 3), dtype=np.int64), np.zeros((4, 0), dtype=np.int64)]
    generators = [row_generator(1), row_generator(2)]
    both = less.sample(conditions, known, [6, 9], StageSampling(), generators)
    alone = less.sample(conditions[:1], known[:1], [6], StageSampling(), [row_generator(1)])
    np.testing.assert_array_equal(both[0], alone[0])


@REDUCED
def test_a_compressed_stage_is_not_saved_or_compressed_again(kind: precision.Precision, tmp_path: Path) -> None:
    less = stage().compress(kind)
    with pytest.raises(ValueError, match=f"held as {kind}; save the stage before"):
        less.save(tmp_path, {})
    with pytest.raises(ValueError, match=f"held as {kind} already"):
        less.compress(kind)


def test_float32_changes_nothing() -> None:
    one, two = stage(), stage().compress("float32")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert two.precision == "float32"


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="precision is 'int4'; use one of float32, bfloat16, int8"):
        compress(stage(), "int4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="int8 weights need an x86 processor"):
        check_precision("int8", "cuda")
    assert fastest("cuda") == "bfloat16"
    monkeypatch.setattr(precision, "check_precision", lambda *_: (_ for _ in ()).throw(ValueError("no")))
    assert fastest() == "float32"


def test_sampling_stops_when_every_row_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that always draws the end: one step is taken, and what follows is the end too."""
    semantic = stage("semantic")
    layout = semantic.config.layout
    semantic.head.data[:] = 0
    steps = []
    from audiolm import stages

    monkeypatch.setattr(stages, "choose", lambda logits, *_: steps.append(1) or torch.full((len(logits),), layout.end))
    empty, known = np.zeros(0, dtype=np.int64), np.zeros((1, 2), dtype=np.int64)
    drawn = semantic.sample([empty], [known], [30], StageSampling(), [row_generator(0)], may_end=True)
    assert len(steps) == 1
    assert drawn[0].shape == (1, 30) and (drawn[0] == layout.n_semantic).all()
