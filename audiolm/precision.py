"""Weights in fewer bits for generation: int8 on any x86 processor, bfloat16 where the processor computes with it.

A token at batch 1 reads every weight once, so its time is the weights' bytes over the memory's speed.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["PRECISIONS", "BFloat16Linear", "Int8Linear", "Precision", "compress", "fastest"]

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16", "int8")


class Int8Linear(nn.Module):
    """``x W^T`` in 8-bit integers: one scale per row of ``W`` and, found as it comes, one per row of ``x``.

    Integer sums are exact, so a row's result does not depend on the rows beside it. Without VNNI the processor adds
    pairs of products in 16 bits; 7 bits of ``x`` then keep the sum within them.
    """

    def __init__(self, weight: Tensor) -> None:
        """``weight``: float32 ``[out, in]`` on a CPU."""
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.steps = 127 if torch.cpu._is_vnni_supported() else 63
        scales = (weight.detach().abs().amax(dim=1).clamp(min=1e-12) / 127).double()
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        quantised = torch.quantize_per_channel(weight.detach().float(), scales, zeros, 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(quantised, None)
        self._plain: tuple[Tensor, Tensor] | None = None

    def plain(self) -> tuple[Tensor, Tensor]:
        """int8 ``[out, in]`` and one float32 scale per row, for products with one row; made once, beside ``packed``."""
        if self._plain is None:
            weight = torch.ops.quantized.linear_unpack(self.packed)[0]
            self._plain = weight.int_repr().contiguous(), weight.q_per_channel_scales().float().contiguous()
        return self._plain

    def forward(self, x: Tensor) -> Tensor:
        scale = x.abs().amax(dim=-1, keepdim=True).clamp_(min=1e-30)
        product = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            x / scale, 1 / self.steps, self.steps + 1, self.packed
        )
        return product.mul_(scale)


class BFloat16Linear(nn.Module):
    """``x W^T`` with weights and inputs rounded to bfloat16; sums are float32, the result bfloat16's."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        half = weight.detach().bfloat16()
        self.packed = None if half.is_cuda else torch.ops.mkldnn._reorder_linear_weight(half, 1)
        self.register_buffer("weight", half if half.is_cuda else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.packed is None:
            return nn.functional.linear(x.bfloat16(), self.weight).float()  # type: ignore[arg-type]
        return torch.ops.mkldnn._linear_pointwise(x.bfloat16(), self.packed, None, "none", [], "").float()


def compress(module: nn.Module, precision: Precision) -> None:
    """Replace every ``nn.Linear`` below ``module`` for good; what is left is for generation only.

    Raises:
        ValueError: an unknown precision, or one this device has no arithmetic for.
    """
    check_precision(precision, next(module.parameters()).device)
    if precision == "float32":
        return
    kind = Int8Linear if precision == "int8" else BFloat16Linear
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and child.bias is None:
                setattr(parent, name, kind(child.weight))


def check_precision(precision: str, device: torch.device | str) -> None:
    """Whether weights can be held so on ``device``.

    Raises:
        ValueError: an unknown precision, or one the device has no arithmetic for.
    """
    device = torch.device(device)
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}; use one of {', '.join(PRECISIONS)}")
    if precision == "int8" and (device.type != "cpu" or torch.backends.quantized.engine not in ("x86", "fbgemm")):
        raise ValueError(f"int8 weights need an x86 processor, not {device.type}; use float32 or bfloat16")
    if precision == "bfloat16" and device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        raise ValueError("bfloat16 weights need a processor with AVX-512; use float32 or int8")


def fastest(device: torch.device | str = "cpu") -> Precision:
    """The precision that decodes fastest on ``device``."""
    for precision in ("int8", "bfloat16"):
        try:
            check_precision(precision, device)
        except ValueError:
            continue
        return precision
    return "float32"
