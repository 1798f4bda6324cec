"""Language models that begin with the codec's geometry: codes that sound alike start with embeddings alike.

A stage sees each of its thousands of codes only a few times per hour of speech. Its embeddings and output rows are
therefore started from the codec's codebook vectors, turned at random into the model's width and brought to the spread
that random ones would have; those of semantic tokens likewise from the clusters' centroids. Training goes on from there
as from any other start.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from audiolm.delayed import CODE_STD as DELAYED_CODE_STD
from audiolm.delayed import DelayedStage
from audiolm.parallel import CODE_STD, ParallelStage
from audiolm.stages import Stage

__all__ = [
    "start_delayed_from_codebooks",
    "start_from_centroids",
    "start_parallel_from_codebooks",
    "start_stage_from_codebooks",
]

EMBEDDING_STD = 0.05
HEAD_STD = 0.02
"""Spread of a stage's own random start (audiolm/stages.py)."""
FIRST_LEVEL_STD = 0.8
"""Spread of what the first level's codes add to a delayed decoder's input."""


@torch.no_grad()
def start_stage_from_codebooks(stage: Stage, codebooks: Tensor, generator: torch.Generator) -> None:
    """Set input and output rows of a coarse or fine stage from ``codebooks`` ``[level, code, latent]``.

    Raises:
        ValueError: a semantic stage, or codebooks of another number of levels or codes.
    """
    layout = stage.config.layout
    levels = layout.n_coarse + (layout.n_fine if layout.kind == "fine" else 0)
    if layout.kind == "semantic":
        raise ValueError("the semantic stage has no codes of the codec; start it at random")
    _check(codebooks, levels, layout.codebook_size)
    dim = stage.config.transformer.dim
    condition = layout.n_coarse if layout.kind == "fine" else 0
    into, out = (_turn(codebooks.shape[2], dim, generator).to(codebooks) for _ in range(2))
    for level in range(condition):
        rows = slice(level * layout.codebook_size, (level + 1) * layout.codebook_size)
        stage.embedding.weight[rows] = _spread(codebooks[level] @ into, EMBEDDING_STD)
    for level in range(layout.target_levels):
        vectors = codebooks[condition + level]
        first, last = layout.legal_range(level)
        stage.embedding.weight[first:last] = _spread(vectors @ into, EMBEDDING_STD)
        stage.head[layout.head_rows(level)] = _spread(vectors @ out, HEAD_STD)


@torch.no_grad()
def start_parallel_from_codebooks(stage: ParallelStage, codebooks: Tensor) -> None:
    """Set the code embeddings of a parallel decoder to the principal components of each level's codebook.

    Raises:
        ValueError: codebooks of another number of levels or codes.
    """
    config = stage.config
    _check(codebooks, config.n_levels, config.codebook_size)
    for level in range(config.n_levels):
        vectors = codebooks[level] - codebooks[level].mean(dim=0)
        if vectors.shape[1] > config.code_dim:
            directions = torch.linalg.svd(vectors, full_matrices=False).Vh
            vectors = vectors @ directions[: config.code_dim].T
        stage.codes[level] = 0.0
        stage.codes[level, :, : vectors.shape[1]] = _spread(vectors, CODE_STD)


@torch.no_grad()
def start_delayed_from_codebooks(stage: DelayedStage, codebooks: Tensor, generator: torch.Generator) -> None:
    """Let a delayed decoder read, at first, the codec's own latent: each code's vector at its own scale, turned alike.

    Residual codebooks shrink from level to level (of nano's, the last has a tenth of the first's spread), so that
    with embeddings of one size the fine levels would drown the coarse ones. The output rows have the same directions,
    at one size, since there every level counts.

    Raises:
        ValueError: codebooks of another number of levels or codes.
    """
    config = stage.config
    _check(codebooks, config.n_levels, config.codebook_size)
    latent = codebooks.shape[2]
    into = _turn(latent, config.code_dim, generator).to(codebooks)
    turn = _turn(config.code_dim, config.transformer.dim, generator).to(codebooks)
    turn = turn * (config.transformer.dim / min(config.code_dim, latent)) ** 0.5
    sizes = [float((level - level.mean(dim=0)).square().mean()) ** 0.5 for level in codebooks]
    for level in range(config.n_levels):
        vectors = codebooks[level] if latent == config.code_dim else codebooks[level] @ into
        stage.codes[level] = _spread(vectors, DELAYED_CODE_STD)
        stage.into[level] = turn * (FIRST_LEVEL_STD / DELAYED_CODE_STD * sizes[level] / max(sizes[0], math.ulp(1.0)))


@torch.no_grad()
def start_from_centroids(
    model: Stage | ParallelStage | DelayedStage, centroids: Tensor, generator: torch.Generator
) -> None:
    """Set the rows of the semantic tokens, wherever ``model`` has any, from ``centroids`` ``[token, feature]``.

    Each table keeps the spread that it has. The fine stage reads no semantic tokens and stays as it is.

    Raises:
        ValueError: centroids of another number of tokens.
    """
    if isinstance(model, Stage):
        layout = model.config.layout
        count = layout.n_semantic
        tables = {"semantic": [model.embedding.weight, model.head], "coarse": [model.embedding.weight], "fine": []}[
            layout.kind
        ]
    else:
        count, tables = model.config.n_semantic, [model.semantic.weight]
    if centroids.ndim != 2 or len(centroids) != count:
        raise ValueError(f"centroids have shape {tuple(centroids.shape)}; give [token, feature] of {count} tokens")
    for table in tables:
        rows = centroids.to(table) @ _turn(centroids.shape[1], table.shape[1], generator).to(table)
        table[:count] = _spread(rows, float(table[:count].square().mean()) ** 0.5)


def _check(codebooks: Tensor, levels: int, size: int) -> None:
    if codebooks.ndim != 3 or len(codebooks) < levels or codebooks.shape[1] != size:
        raise ValueError(
            f"codebooks have shape {tuple(codebooks.shape)}; give [level, code, latent] with at least {levels} levels"
            f" of {size} codes"
        )


def _turn(width: int, dim: int, generator: torch.Generator) -> Tensor:
    """``[width, dim]`` with orthonormal rows (columns where ``dim`` is the smaller)."""
    drawn = torch.randn(max(width, dim), min(width, dim), generator=generator)
    orthogonal = torch.linalg.qr(drawn).Q
    return orthogonal.T if dim > width else orthogonal


def _spread(vectors: Tensor, std: float) -> Tensor:
    """Centred, with root mean square ``std``."""
    centred = vectors - vectors.mean(dim=0)
    return centred * (std / max(float(centred.square().mean()) ** 0.5, math.ulp(1.0)))
