"""Stages that start from the codec's geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiolm.codebook_start import start_from_centroids, start_parallel_from_codebooks, start_stage_from_codebooks
from audiolm.delayed import DelayedStage, nano_delayed
from audiolm.parallel import CODE_STD, ParallelStage, nano_parallel
from audiolm.stages import Stage, nano_stage

SIZE, LATENT = 32, 8


def codebooks(levels: int = 3) -> torch.Tensor:
    """One far code per level; the others lie close together."""
    vectors = 0.1 * torch.randn(levels, SIZE, LATENT, generator=torch.Generator().manual_seed(1))
    vectors[:, 0] += 5.0
    return vectors


def stage(kind: str) -> Stage:
    return Stage(nano_stage(kind, n_semantic=10, n_coarse=1, n_fine=2, codebook_size=SIZE))


def correlation(rows: torch.Tensor, vectors: torch.Tensor) -> float:
    """Of all pairwise distances between rows and between vectors."""
    pair = torch.triu_indices(len(rows), len(rows), 1)
    distances = [torch.cdist(x, x)[pair[0], pair[1]].numpy() for x in (rows, vectors)]
    return float(np.corrcoef(distances[0], distances[1])[0, 1])


@pytest.mark.parametrize(("kind", "first_level"), [("coarse", 0), ("fine", 1)])
def test_codes_that_lie_close_start_close(kind: str, first_level: int) -> None:
    books, fresh = codebooks(), stage(kind)
    untouched = fresh.embedding.weight[fresh.config.layout.end].clone()
    start_stage_from_codebooks(fresh, books, torch.Generator().manual_seed(0))
    layout = fresh.config.layout
    for level in range(layout.target_levels):
        first, last = layout.legal_range(level)
        embeddings, head = fresh.embedding.weight[first:last].detach(), fresh.head[layout.head_rows(level)].detach()
        for rows, spread in ((embeddings, 0.05), (head, 0.02)):
            assert correlation(rows, books[first_level + level]) == pytest.approx(1.0, abs=1e-4)
            assert float(rows.square().mean().sqrt()) == pytest.approx(spread, rel=1e-3)
    assert torch.equal(fresh.embedding.weight[layout.end], untouched)


def test_the_fine_stage_reads_its_coarse_condition_alike() -> None:
    books, fresh = codebooks(), stage("fine")
    start_stage_from_codebooks(fresh, books, torch.Generator().manual_seed(0))
    assert correlation(fresh.embedding.weight[:SIZE].detach(), books[0]) == pytest.approx(1.0, abs=1e-4)


def test_parallel_decoder_takes_the_codes_as_they_are_where_they_fit() -> None:
    wide = ParallelStage(nano_parallel(n_semantic=10, n_coarse=1, n_fine=2, codebook_size=SIZE))
    start_parallel_from_codebooks(wide, codebooks())
    for level, vectors in enumerate(codebooks()):
        rows = wide.codes[level].detach()
        assert correlation(rows, vectors) == pytest.approx(1.0, abs=1e-4)
        assert float(rows[:, :LATENT].square().mean().sqrt()) == pytest.approx(CODE_STD, rel=1e-3)


def test_wrong_codebooks_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 3 levels of 32 codes"):
        start_stage_from_codebooks(stage("fine"), codebooks(2), torch.Generator())
    with pytest.raises(ValueError, match="semantic stage"):
        start_stage_from_codebooks(stage("semantic"), codebooks(), torch.Generator())


@pytest.mark.parametrize("kind", ["semantic", "coarse", "delayed", "parallel"])
def test_semantic_tokens_that_sound_alike_start_alike(kind: str) -> None:
    centroids = torch.randn(10, 24, generator=torch.Generator().manual_seed(2))
    model: Stage | ParallelStage | DelayedStage
    if kind in ("semantic", "coarse"):
        model = stage(kind)
        tables = [model.embedding.weight, model.head] if kind == "semantic" else [model.embedding.weight]
    else:
        model = (DelayedStage if kind == "delayed" else ParallelStage)(  # type: ignore[arg-type]
            (nano_delayed if kind == "delayed" else nano_parallel)(
                n_semantic=10, n_coarse=1, n_fine=2, codebook_size=SIZE
            )  # type: ignore[arg-type]
        )
        tables = [model.semantic.weight]
    before = [table.detach().clone() for table in tables]
    start_from_centroids(model, centroids, torch.Generator().manual_seed(0))
    for table, was in zip(tables, before, strict=True):
        rows = table[:10].detach()
        assert correlation(rows, centroids) == pytest.approx(1.0, abs=1e-4)
        assert float(rows.square().mean()) == pytest.approx(float(was[:10].square().mean()), rel=1e-3)
        assert torch.equal(table[10:], was[10:])
        assert not torch.equal(rows, was[:10])


def test_the_fine_stage_has_no_semantic_tokens_and_others_must_fit() -> None:
    fine = stage("fine")
    before = {name: value.clone() for name, value in fine.state_dict().items()}
    start_from_centroids(fine, torch.randn(10, 24), torch.Generator().manual_seed(0))
    assert all(torch.equal(value, before[name]) for name, value in fine.state_dict().items())
    with pytest.raises(ValueError, match=r"centroids have shape \(9, 24\)"):
        start_from_centroids(stage("coarse"), torch.randn(9, 24), torch.Generator().manual_seed(0))
