"""Fit any of the networks on features that were computed once; the same bytes for the same seed and features."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from detectors.error_rates import eer
from detectors.kinds import BONA_FIDE_KINDS, bona_fide_logit
from detectors.training import TrainConfig, learning_rate

__all__ = ["FeatureSet", "KindNetwork", "fit_on_features", "scores_of"]

logger = logging.getLogger(__name__)
KIND_WEIGHT = 0.3
SHORTEST_SHARE = 0.5
AVERAGED_STEPS = 100


class KindNetwork(Protocol):
    """A network with one logit per kind (:mod:`detectors.kinds`), ``[batch, kind]``, before the odds of genuine."""

    def logits(self, features: Tensor) -> Tensor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSet:
    """``features``: ``[window, band, frame]`` or ``[window, number]``, any float type; ``kinds``: index
    per window; ``generators``: names.
    """

    features: Tensor
    kinds: np.ndarray
    generators: np.ndarray

    def without(self, generators: Sequence[str]) -> FeatureSet:
        """All windows but those of some generators."""
        kept = np.flatnonzero(~np.isin(self.generators, list(generators)))
        return FeatureSet(
            features=self.features[torch.from_numpy(kept)], kinds=self.kinds[kept], generators=self.generators[kept]
        )


def _masked(batch: Tensor, rng: np.random.Generator) -> Tensor:
    """A random stretch of at least half the frames, then stripes of bands and moments set to the mean.

    Features that have no frames (``[window, number]``) stay as they are.
    """
    if batch.ndim == 2:
        return batch.float()
    bands, frames = batch.shape[1:]
    length = int(rng.uniform(SHORTEST_SHARE, 1.0) * frames)
    start = int(rng.integers(frames - length + 1))
    batch = batch[:, :, start : start + length].float()
    batch = batch - batch.mean(dim=2, keepdim=True)
    for row in batch:
        width, first = int(rng.integers(0, bands // 6)), int(rng.integers(0, bands))
        row[first : first + width] = 0.0
        width, first = int(rng.integers(0, frames // 10)), int(rng.integers(0, length))
        row[:, first : first + width] = 0.0
    return batch


def scores_of(network: nn.Module, features: Tensor) -> np.ndarray:
    """One logit per window, float64."""
    network.eval()
    with torch.inference_mode():
        parts = [network(features[first : first + 64].float()) for first in range(0, len(features), 64)]
    return torch.cat(parts).numpy().astype(np.float64)


def fit_on_features(
    network: nn.Module,
    training: FeatureSet,
    held: FeatureSet,
    config: TrainConfig,
) -> list[dict]:
    """Train ``network`` in place and leave it at the running mean of its weights; the history comes back.

    The loss is that of genuine against generated, plus a little of telling the kinds apart. Batches are drawn evenly
    (as the windows were). ``held``: windows of other speakers, looked at every ``check_every`` steps, for the log.
    """
    network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # a third less time a step
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    kinds, history = torch.from_numpy(training.kinds), []
    order = np.zeros(0, np.int64)
    for step in range(config.steps):
        rng = np.random.default_rng([config.seed, step])
        if order.size < config.batch:
            order = np.concatenate([order, rng.permutation(len(training.kinds))])
        index, order = torch.from_numpy(order[: config.batch]), order[config.batch :]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, step)
        batch = _masked(training.features[index], rng)
        loss = _step(network, optimiser, batch, kinds[index], rng)
        keep = min(1.0 - 1.0 / AVERAGED_STEPS, step / (step + 10.0))
        _follow(average, network.state_dict(), keep)
        if (step + 1) % config.check_every == 0 or step + 1 == config.steps:
            history.append({"step": step + 1, "loss": loss, **_check(network, average, held)})
            logger.info("%s", history[-1])
    network.load_state_dict(average)
    network.eval()
    return history


def _step(
    network: nn.Module, optimiser: torch.optim.Optimizer, batch: Tensor, kinds: Tensor, rng: np.random.Generator
) -> float:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        network.train()
        logits = cast(KindNetwork, network).logits(batch)
    genuine = (kinds < BONA_FIDE_KINDS).float()
    loss = binary_cross_entropy_with_logits(bona_fide_logit(logits), genuine)
    loss = loss + KIND_WEIGHT * cross_entropy(logits, kinds)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return float(loss.detach())


def _follow(average: dict[str, Tensor], state: Mapping[str, Tensor], keep: float) -> None:
    for name, value in state.items():
        if value.is_floating_point():
            average[name].lerp_(value.detach(), 1.0 - keep)
        else:
            average[name] = value.detach().clone()


def _check(network: nn.Module, average: Mapping[str, Tensor], held: FeatureSet) -> dict[str, float]:
    twin = copy.deepcopy(network)
    twin.load_state_dict(average)
    scores, genuine = scores_of(twin, held.features), held.kinds < BONA_FIDE_KINDS
    losses = np.logaddexp(0.0, np.where(genuine, -scores, scores))
    loss = float(losses[genuine].mean() + losses[~genuine].mean()) / 2
    return {"held_loss": round(loss, 4), "held_eer": round(eer(scores[genuine], scores[~genuine]), 4)}
