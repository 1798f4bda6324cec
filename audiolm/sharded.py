"""Tensors that may be one process's shard of a larger one (PyTorch's DTensor), to whole ones and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["load_whole", "shard_like", "whole"]


def whole(tensor: Tensor) -> Tensor:
    """The tensor itself, or all shards put together (every process has to ask for it)."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor  # type: ignore[operator]


def shard_like(tensor: Tensor, target: Tensor) -> Tensor:
    """A whole tensor on the device, and cut the way, that ``target`` is."""
    if not hasattr(target, "full_tensor"):
        return tensor.to(target.device)
    from torch.distributed.tensor import distribute_tensor

    mesh, placements = target.device_mesh, target.placements  # type: ignore[attr-defined]
    return distribute_tensor(tensor.to(mesh.device_type), mesh, placements)


@torch.no_grad()
def load_whole(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """``load_state_dict`` for a module that may be cut into shards.

    Raises:
        ValueError: the state lacks a weight of the module or holds another's.
    """
    own = module.state_dict()
    if own.keys() != state.keys():
        odd = sorted(own.keys() ^ state.keys())
        raise ValueError(f"the saved state and the model differ in {odd[0]!r} ({len(odd)} names); use the same model")
    for name, target in own.items():
        if target.shape != state[name].shape:
            raise ValueError(
                f"{name}: the saved state has shape {list(state[name].shape)}, the model {list(target.shape)};"
                " resume with the configuration the run was started with"
            )
        target.copy_(shard_like(state[name], target))
