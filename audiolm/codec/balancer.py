"""Balance between losses that differ in scale by orders of magnitude: each gets its stated share of the gradient.

High Fidelity Neural Audio Compression (EnCodec), section 3.4, "Loss balancer": the gradient of every loss with respect
to the decoder's output is divided by a moving average of its own norm, so that a weight is the share of the
update it decides, whatever the loss's units are and however they drift.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["GradientBalancer"]


class GradientBalancer:
    """Turns losses of one waveform into one gradient at that waveform.

    ``weights``: share per loss, above 0, in any unit (they are divided by their sum over the losses given);
    ``decay``: of the moving averages of the norms, 0 to below 1; ``total_norm``: norm per example of the combined
    gradient, were all of them parallel. Examples count alike: a norm is the mean over the batch of each one's norm.
    """

    def __init__(self, weights: Mapping[str, float], *, decay: float = 0.999, total_norm: float = 1.0) -> None:
        bad = [name for name, weight in weights.items() if not weight > 0]
        if not weights or bad:
            raise ValueError(f"weights are {dict(weights)}; give every loss a weight above 0")
        if not 0 <= decay < 1 or not total_norm > 0:
            raise ValueError(f"decay {decay} must lie in [0, 1) and total_norm {total_norm} above 0")
        self.weights, self.decay, self.total_norm = dict(weights), decay, total_norm
        self._sums = {name: 0.0 for name in weights}
        self._mass = {name: 0.0 for name in weights}

    def gradient(self, losses: Mapping[str, Tensor], output: Tensor) -> tuple[Tensor, dict[str, float]]:
        """The combined gradient, shaped as ``output``, and the norm of each loss's own.

        ``output`` ``[batch, ...]`` must require gradients and be what the losses were computed from: detached from
        the decoder, its graph ends here, and ``output.backward(gradient)`` of the decoder's own tensor carries it on.
        The graph of the losses is kept, so that a discriminator's own loss may still use it.

        Raises:
            ValueError: a loss without a weight.
            FloatingPointError: a gradient is not finite; the averages are left as they were.
        """
        unknown = sorted(losses.keys() - self.weights.keys())
        if unknown or not losses:
            raise ValueError(f"losses are {sorted(losses)}; the balancer has weights for {sorted(self.weights)}")
        gradients = {
            name: torch.autograd.grad(loss, output, retain_graph=True)[0].detach() for name, loss in losses.items()
        }
        norms = self._norms(gradients)
        share = self.total_norm / sum(self.weights[name] for name in losses)
        combined = torch.zeros_like(output)
        for name, gradient in gradients.items():
            self._sums[name] = self.decay * self._sums[name] + (1 - self.decay) * norms[name]
            self._mass[name] = self.decay * self._mass[name] + (1 - self.decay)
            average = self._sums[name] / self._mass[name]
            if average > 0:
                combined.add_(gradient, alpha=share * self.weights[name] / average)
        return combined, norms

    def state_dict(self) -> dict[str, Tensor]:
        """The moving averages as tensors (float64), one pair per loss: enough to go on exactly."""
        return {name: torch.tensor([self._sums[name], self._mass[name]], dtype=torch.float64) for name in self.weights}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take averages stored by :meth:`state_dict`.

        Raises:
            ValueError: they belong to a balancer of other losses.
        """
        if state.keys() != self.weights.keys():
            raise ValueError(f"state holds losses {sorted(state)}; this balancer has {sorted(self.weights)}")
        for name, pair in state.items():
            self._sums[name], self._mass[name] = (float(value) for value in pair)

    def _norms(self, gradients: Mapping[str, Tensor]) -> dict[str, float]:
        """Mean over examples (and over processes) of each gradient's norm."""
        stacked = torch.stack([gradient.flatten(1).float().norm(dim=1).mean() for gradient in gradients.values()])
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(stacked)
            stacked = stacked / torch.distributed.get_world_size()
        norms = dict(zip(gradients, map(float, stacked.double()), strict=True))
        for name, norm in norms.items():
            if not norm < float("inf"):
                raise FloatingPointError(f"the gradient of loss {name!r} is {norm}; lower the learning rate and resume")
        return norms
