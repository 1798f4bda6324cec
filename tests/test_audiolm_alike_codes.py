"""Alike codes: the width of every row, who stands for whom, and what the stage's loss makes of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from training_tasks import stage_task

from audiolm.alike_codes import alike_codes
from audiolm.train_stages import StageTraining


def books(levels: int = 2, size: int = 40) -> torch.Tensor:
    return torch.randn(levels, size, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("perplexity", [2.0, 8.0, 30.0])
def test_rows_are_distributions_of_the_perplexity_asked_for(perplexity: float) -> None:
    chances = alike_codes(books(), perplexity)
    np.testing.assert_allclose(chances.sum(dim=2), 1.0, atol=1e-5)
    assert not chances.diagonal(dim1=1, dim2=2).any()
    entropy = -(chances * chances.clamp(min=1e-30).log()).sum(dim=2)
    np.testing.assert_allclose(entropy.exp(), perplexity, rtol=1e-3)


def test_the_nearer_code_is_the_likelier_one() -> None:
    vectors = books(1)
    chances, distance = alike_codes(vectors, 8.0)[0], torch.cdist(vectors[0], vectors[0])
    for row in range(len(distance)):
        others = [i for i in range(len(distance)) if i != row]
        by_distance = sorted(others, key=lambda i: float(distance[row, i]))
        values = chances[row][by_distance]
        assert bool((values[:-1] >= values[1:]).all())


def test_scale_and_place_of_a_codebook_do_not_matter() -> None:
    torch.testing.assert_close(alike_codes(books() * 50 + 3, 8.0), alike_codes(books(), 8.0), atol=1e-4, rtol=1e-2)


@pytest.mark.parametrize("perplexity", [0.5, 1.0, 39.0])
def test_a_perplexity_out_of_reach_is_refused(perplexity: float) -> None:
    with pytest.raises(ValueError, match="use above 1 and below"):
        alike_codes(books(), perplexity)


def test_the_soft_loss_is_the_mean_of_the_losses_of_the_codes_it_names() -> None:
    task = stage_task()
    task.model.eval()
    rows = task._rows(task._crops(task.dev, np.random.default_rng(0)))
    layout = task.config.layout
    soft = torch.rand(layout.n_coarse, 5, 5, generator=torch.Generator().manual_seed(1))
    soft /= soft.sum(dim=2, keepdim=True)
    chances = [task.model.logits(rows, level).log_softmax(-1) for level in range(layout.n_coarse)]
    total, count = 0.0, 0
    for row, position in zip(*np.nonzero(rows.targets >= 0), strict=True):
        level = int(rows.roles[row, position]) - 1
        code = int(rows.targets[row, position]) - layout.legal_range(level)[0]
        total -= float(soft[level, code] @ chances[level][row, position].detach())
        count += 1
    assert float(task.model.loss(rows, soft).loss.detach()) == pytest.approx(total / count, rel=1e-5)
    same, plain = task.model.loss(rows, torch.eye(5).expand(2, 5, 5)), task.model.loss(rows)
    torch.testing.assert_close(same.loss, plain.loss)


def test_noise_replaces_only_codes_that_are_read_and_by_codes_of_their_level() -> None:
    task = stage_task()
    rows = task._rows(task._crops(task.train, np.random.default_rng(0)))
    assert task._noisy(rows, np.random.default_rng(1)) is rows
    task.training = StageTraining(optimiser=task.training.optimiser, batch=4, code_noise=0.5)
    noisy = task._noisy(rows, np.random.default_rng(1))
    layout = task.config.layout
    level_of = (rows.ids - layout.condition_size) // layout.target_size
    code = (level_of >= 0) & (level_of < layout.target_levels)
    changed = noisy.ids != rows.ids
    assert not changed[~code].any() and 0.3 < changed[code].mean() < 0.5
    np.testing.assert_array_equal((noisy.ids - layout.condition_size)[code] // layout.target_size, level_of[code])
    np.testing.assert_array_equal(noisy.targets, rows.targets)


@pytest.mark.parametrize("field", ["code_noise", "alike"])
def test_shares_are_shares(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 1.5"):
        StageTraining(**{field: 1.5})
