"""What every training task shares: optimiser groups, warm-up and cosine, clipping, averaged weights, seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from audiolm.runtime import Runtime
from audiolm.sharded import load_whole, shard_like, whole

__all__ = ["ModelState", "Optimiser", "OptimiserConfig", "generator_for", "module_randomness"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimiserConfig:
    """AdamW with linear warm-up, cosine decay to ``final_fraction`` of the rate at ``steps``, clipped gradients.

    ``ema_decay``: of the averaged weights that are validated and exported; it rises from 0.1 as training starts.
    """

    steps: int
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    final_fraction: float = 0.05
    weight_decay: float = 0.1
    betas: tuple[float, ...] = (0.9, 0.98)
    clip_norm: float = 1.0
    ema_decay: float = 0.999

    def __post_init__(self) -> None:
        if self.steps < 1 or self.learning_rate <= 0:
            raise ValueError(f"steps {self.steps} and learning_rate {self.learning_rate} must be above 0")

    def rate_at(self, step: int) -> float:
        """Learning rate of 0-based ``step``."""
        if step < self.warmup_steps:
            return self.learning_rate * (step + 1) / self.warmup_steps
        share = min(1.0, (step - self.warmup_steps) / max(1, self.steps - self.warmup_steps))
        fall = 0.5 * (1 + math.cos(math.pi * share))
        return self.learning_rate * (self.final_fraction + (1 - self.final_fraction) * fall)


class Optimiser:
    """AdamW over a module, its schedule and its averaged weights, as one thing with one state.

    One step is :meth:`zero`, :meth:`backward` for each part of the batch, :meth:`update`; :meth:`step` is the three
    in one for a batch in one part. Make it after the module was wrapped by the runtime.
    """

    def __init__(self, module: nn.Module, config: OptimiserConfig, runtime: Runtime | None = None) -> None:
        self.config = config
        self.module = module
        self.runtime = runtime or Runtime()
        weights = [p for p in module.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in weights if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in weights if p.ndim < 2], "weight_decay": 0.0},
        ]
        betas = (config.betas[0], config.betas[1])
        self.adam = torch.optim.AdamW(groups, lr=config.learning_rate, betas=betas, foreach=True)
        self.average = {name: value.detach().clone() for name, value in module.state_dict().items()}

    def step(self, loss: Tensor, step: int) -> dict[str, float]:
        """Backward, clip, update, average; gives the gradient norm and the learning rate used.

        Raises:
            FloatingPointError: the loss is not finite (the weights are left as they were).
        """
        self.zero()
        self.backward(loss, step)
        return self.update(step)

    def zero(self) -> None:
        """Forget all gradients."""
        self.adam.zero_grad(set_to_none=True)

    def backward(self, loss: Tensor, step: int) -> None:
        """Add the gradients of one part's weighted loss.

        Raises:
            FloatingPointError: the loss is not finite (the weights are left as they were).
        """
        if not bool(torch.isfinite(loss)):
            raise FloatingPointError(f"loss is {loss.item()} at step {step}; lower the learning rate and resume")
        self.runtime.backward(loss, self.module)

    def update(self, step: int) -> dict[str, float]:
        """Exchange, clip and apply the gradients, move the average; gives the gradient norm and the rate used."""
        rate = self.config.rate_at(step)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.runtime.synchronise(self.module)
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.config.clip_norm)
        self.adam.step()
        self._update_average(step)
        return {"grad_norm": float(whole(norm)), "learning_rate": rate}

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        for name, value in self.module.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, 1 - decay)
            else:
                self.average[name].copy_(value)

    @contextmanager
    def averaged(self) -> Iterator[nn.Module]:
        """The module in evaluation mode with the averaged weights inside; restored afterwards."""
        own = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        was_training = self.module.training
        self._put(self.average)
        self.module.eval()
        try:
            yield self.module
        finally:
            self._put(own)
            self.module.train(was_training)

    @torch.no_grad()
    def _put(self, values: dict[str, Tensor]) -> None:
        for name, target in self.module.state_dict().items():
            target.copy_(values[name])

    def exported(self) -> dict[str, Tensor]:
        """The averaged weights, whole, for a checkpoint (every process has to ask for them)."""
        return {name: whole(value) for name, value in self.average.items()}

    def restart_average(self) -> None:
        """Take the present weights as the average (after an initialisation from data)."""
        self.average = {name: value.detach().clone() for name, value in self.module.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        return {"adam": self.adam.state_dict(), "average": self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up :meth:`state_dict`; tensors come whole, also where the module is cut into shards."""
        weights = [weight for group in self.adam.param_groups for weight in group["params"]]
        adam = dict(state["adam"])
        adam["state"] = {
            index: {
                name: shard_like(value, weights[index]) if value.shape == weights[index].shape else value
                for name, value in moments.items()
            }
            for index, moments in adam["state"].items()
        }
        self.adam.load_state_dict(adam)
        own = self.module.state_dict()
        self.average = {name: shard_like(value.clone(), own[name]) for name, value in state["average"].items()}


def generator_for(rng: np.random.Generator) -> torch.Generator:
    """A torch generator seeded from a NumPy one (a CPU generator; draws are moved where they are needed)."""
    return torch.Generator().manual_seed(int(rng.integers(2**62)))


@contextmanager
def module_randomness(seed: int, step: int) -> Iterator[None]:
    """Dropout inside draws from (seed, step); the global generators are as before afterwards."""
    mixed = int(np.random.default_rng([seed, step, 1]).integers(2**62))
    with torch.random.fork_rng():
        torch.manual_seed(mixed)
        yield


class ModelState:
    """What a training of one model stores and takes up again: the model and its optimiser."""

    model: Any
    optimiser: Optimiser

    def state_dict(self) -> dict[str, Any]:
        return {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        load_whole(self.model, state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
