"""Training in several processes: ``torchrun`` starts them, Lightning Fabric connects them.

``ddp`` keeps the whole model in every process; ``fsdp`` cuts weights, gradients and optimiser state into one shard per
process (PyTorch's FSDP2), for models that one GPU cannot hold. Both run on CPUs (gloo) and GPUs (NCCL).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from audiolm.meeting import PATIENCE, join_group
from audiolm.runtime import Part, Runtime, resolve_device

__all__ = ["STRATEGIES", "FabricRuntime", "started_by_torchrun", "runtime_for"]

STRATEGIES = ("ddp", "fsdp")


def started_by_torchrun() -> bool:
    """Whether this process is one of several that ``torchrun`` started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def runtime_for(*, device: str = "auto", precision: str = "32", accumulate: int = 1, strategy: str = "ddp") -> Runtime:
    """The runtime this process was started for: alone, or one of several."""
    if strategy not in STRATEGIES:
        raise ValueError(f"strategy is {strategy!r}; use one of {', '.join(STRATEGIES)}")
    if started_by_torchrun():
        return FabricRuntime(device=device, precision=precision, accumulate=accumulate, strategy=strategy)
    return Runtime(device=device, precision=precision, accumulate=accumulate)


class FabricRuntime(Runtime):
    """One of several processes. Modules that :meth:`wrap` was not asked for (the codec and its discriminators, whose
    forwards do not come in pairs with backwards) have their gradients summed in one message per step."""

    def __init__(self, *, device: str, precision: str, accumulate: int, strategy: str) -> None:
        try:
            from lightning_fabric import Fabric  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ValueError("several processes need Lightning Fabric; pip install 'audiolm-audit[scale]'") from error
        kind = resolve_device(device).type
        super().__init__(device=kind, precision=precision, accumulate=accumulate)
        local = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        self.world = int(os.environ["WORLD_SIZE"])
        self.strategy = strategy
        self.is_sharded = strategy == "fsdp"
        self.fabric = Fabric(
            accelerator="cuda" if kind == "cuda" else "cpu",
            devices=local,
            num_nodes=max(1, self.world // local),
            strategy=_strategy(strategy, self.world),
        )
        join_group(kind)
        self.fabric.launch()
        self.rank = self.fabric.global_rank
        self.device = self.fabric.device
        self._wrapped: dict[int, Any] = {}

    def wrap(self, module: nn.Module, *methods: str) -> Any:
        wrapped = self.fabric.setup_module(module, move_to_device=True)
        for method in methods:
            wrapped.mark_forward_method(method)
            if self.strategy == "fsdp":
                from torch.distributed.fsdp import register_fsdp_forward_method

                register_fsdp_forward_method(module, method)
        self._wrapped[id(module)] = wrapped
        return wrapped

    @contextmanager
    def part_of_step(self, module: nn.Module, part: Part) -> Iterator[None]:
        wrapped = self._wrapped.get(id(module))
        if wrapped is None:
            yield
            return
        with self.fabric.no_backward_sync(wrapped, enabled=not part.last):
            yield

    def backward(self, loss: Tensor, module: nn.Module) -> None:
        wrapped = self._wrapped.get(id(module))
        if wrapped is None:
            loss.backward()
        else:  # wrapped gradients are averaged over the processes: the losses of the parts are to be added
            self.fabric.backward(loss * self.world, model=wrapped)

    def synchronise(self, module: nn.Module) -> None:
        if id(module) in self._wrapped:
            return
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        flat = torch.cat([torch.zeros_like(w).flatten() if w.grad is None else w.grad.flatten() for w in weights])
        torch.distributed.all_reduce(flat)
        for weight, summed in zip(weights, flat.split([w.numel() for w in weights]), strict=True):
            weight.grad = summed.view_as(weight)

    def total(self, tensor: Tensor) -> Tensor:
        summed = tensor.clone()
        torch.distributed.all_reduce(summed)
        return summed

    def totals(self, values: Mapping[str, float]) -> dict[str, float]:
        summed = self.total(torch.tensor(list(values.values()), dtype=torch.float64, device=self.device))
        return dict(zip(values, summed.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        return bool(self.total(torch.tensor(float(flag), device=self.device)) > 0)

    def barrier(self) -> None:
        self.fabric.barrier()

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"strategy": self.strategy}


def _strategy(name: str, world: int) -> Any:
    from lightning_fabric.strategies.ddp import DDPStrategy  # pyright: ignore[reportMissingImports]
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy  # pyright: ignore[reportMissingImports]

    if name == "ddp":
        return DDPStrategy(broadcast_buffers=False, timeout=PATIENCE)
    return ModelParallelStrategy(_shard, data_parallel_size=world, tensor_parallel_size=1, timeout=PATIENCE)


def _shard(module: Any, mesh: Any) -> nn.Module:
    """Every block of every stack is one shard group; what is left is the root's."""
    from torch.distributed.fsdp import fully_shard

    data = mesh["data_parallel"]
    for stack in [child for child in module.modules() if isinstance(child, nn.ModuleList)]:
        for block in stack:
            fully_shard(block, mesh=data)
    fully_shard(module, mesh=data)
    return module
