"""Where a training runs: the device, the precision, and which rows of each step's batch are this process's.

The batch of a step is drawn whole, from (seed, step), by every process; :meth:`Runtime.parts` names the rows that
this process works on, in one piece or in several accumulated ones. A task weighs the loss of each part so that the
parts of all processes add up to the loss of the whole batch: then any number of processes and of parts takes the same
step.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["PRECISIONS", "Part", "Runtime", "resolve_device"]

PRECISIONS = ("32", "bf16-mixed")


@dataclass(frozen=True, slots=True)
class Part:
    """``rows`` of a batch of ``total``; ``last``: no further part of this step follows in this process."""

    rows: slice
    total: int
    last: bool

    @property
    def weight(self) -> float:
        """Share of the batch's rows: the weight of a loss that is a mean over rows of one size."""
        return (self.rows.stop - self.rows.start) / self.total


class Runtime:
    """One process on one device; :class:`audiolm.processes.FabricRuntime` is several."""

    rank = 0
    world = 1
    is_sharded = False
    """Whether each process holds only a shard of the weights, so that all have to work to validate."""

    def __init__(self, *, device: str = "cpu", precision: str = "32", accumulate: int = 1) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision!r}; use one of {', '.join(PRECISIONS)}")
        if accumulate < 1:
            raise ValueError(f"accumulate is {accumulate}; use 1 or more parts per step")
        self.device = resolve_device(device)
        self.precision = precision
        self.accumulate = accumulate
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")

    @property
    def is_main(self) -> bool:
        """Whether this process writes the logs and the files."""
        return self.rank == 0

    @property
    def n_parts(self) -> int:
        """Into how many parts all processes together cut a step's batch."""
        return self.world * self.accumulate

    def parts(self, total: int) -> list[Part]:
        """This process's parts of a batch of ``total`` rows, in order.

        Raises:
            ValueError: the rows cannot be shared out evenly.
        """
        if total % self.n_parts:
            raise ValueError(
                f"a batch of {total} rows cannot be cut evenly for {self.world} processes x {self.accumulate} parts;"
                " change the batch, the number of processes or --accumulate"
            )
        size = total // self.n_parts
        first = self.rank * self.accumulate
        return [
            Part(slice(index * size, (index + 1) * size), total, index + 1 == first + self.accumulate)
            for index in range(first, first + self.accumulate)
        ]

    def autocast(self) -> torch.autocast:
        """Context of the forward pass: bfloat16 matrix products where the precision says so."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed")

    def wrap(self, module: nn.Module, *methods: str) -> Any:
        """``module`` on the device, ready for training; call the result's ``methods`` in place of the module's."""
        return module.to(self.device)

    @contextmanager
    def part_of_step(self, module: nn.Module, part: Part) -> Iterator[None]:
        """Around forward and backward of one part: gradients are exchanged only at the last one."""
        yield

    def backward(self, loss: Tensor, module: nn.Module) -> None:
        """Gradients of one part's weighted loss, added to those that are there."""
        loss.backward()

    def synchronise(self, module: nn.Module) -> None:
        """After the last part: every process's gradients become the sum over all of them."""

    def total(self, tensor: Tensor) -> Tensor:
        """Sum of a tensor over all processes (the same on each)."""
        return tensor

    def totals(self, values: Mapping[str, float]) -> dict[str, float]:
        """Sum of each value over all processes."""
        return dict(values)

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        return flag

    def barrier(self) -> None:
        """Wait until every process is here."""

    def describe(self) -> dict[str, Any]:
        """What a training record says about it."""
        return {
            "device": str(self.device),
            "precision": self.precision,
            "processes": self.world,
            "accumulate": self.accumulate,
        }


def resolve_device(name: str) -> torch.device:
    """``auto`` (a GPU where torch sees one), ``cpu`` or ``cuda``.

    Raises:
        ValueError: unknown name, or a GPU was asked for and torch sees none.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind = name.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"device is {name!r}; use auto, cpu or cuda")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device is {name!r}, but torch sees no GPU; use --device cpu, or install torch with CUDA")
    return torch.device(name)
