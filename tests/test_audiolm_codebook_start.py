"""Stages that start from the codec's geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from audiolm.codebook_start import start_parallel_from_codebooks, start_stage_from_codebooks
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
