"""Discriminators beside a codec in training: their optimiser, the balance of gradients and their state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from audiolm.codec.adversarial import contest
from audiolm.codec.balancer import GradientBalancer
from audiolm.codec.config import CodecConfig
from audiolm.codec.discriminators import Discriminator, DiscriminatorConfig, nano_discriminator
from audiolm.codec.magnitude_discriminator import MagnitudeDiscriminator
from audiolm.optimisation import Optimiser, OptimiserConfig
from audiolm.runtime import Part, Runtime

__all__ = ["Adversary", "AdversaryConfig", "discriminator_for"]

Compare = Callable[[Tensor, Tensor], tuple[dict[str, Tensor], Tensor]]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdversaryConfig:
    """``start``: step from which the discriminators play; the shares say how much of the decoder's gradient each of
    reconstruction, deceiving the discriminators and matching their features decides. ``balanced`` off makes the shares
    plain weights of the losses, whatever their gradients' scales (what SoundStream does; kept for comparison)."""

    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(
            steps=20_000, learning_rate=2e-4, weight_decay=0.0, betas=(0.5, 0.9), ema_decay=0.9
        )
    )
    start: int = 0
    discriminator: DiscriminatorConfig = field(default_factory=nano_discriminator)
    reconstruction_share: float = 2.0
    adversarial_share: float = 1.0
    feature_share: float = 1.0
    balanced: bool = True


def discriminator_for(codec: CodecConfig, config: AdversaryConfig) -> nn.Module:
    """The networks that judge what ``codec`` decodes, freshly made."""
    return MagnitudeDiscriminator() if codec.front_end == "magnitude" else Discriminator(config.discriminator)


class Adversary:
    """One step is :meth:`begin`, :meth:`judge` for each part of the batch, :meth:`update`."""

    def __init__(self, codec: CodecConfig, config: AdversaryConfig, runtime: Runtime) -> None:
        self.config, self.runtime = config, runtime
        self.discriminator = discriminator_for(codec, config).to(runtime.device)
        self.optimiser = Optimiser(self.discriminator, config.optimiser, runtime)
        self.balancer = GradientBalancer(
            {
                "reconstruction": config.reconstruction_share,
                "adversarial": config.adversarial_share,
                "features": config.feature_share,
            }
        )

    def begin(self, step: int) -> bool:
        """Whether the discriminators play in ``step``."""
        self.optimiser.zero()
        return step >= self.config.start

    def judge(self, decoded: Tensor, target: Tensor, compare: Compare, part: Part) -> tuple[dict[str, Tensor], Tensor]:
        """Losses to report, and a scalar whose gradient at ``decoded`` is the combined one.

        The discriminators' own gradients are added up on the way.
        """
        result = contest(self.discriminator, target, decoded)  # type: ignore[arg-type]
        losses, reconstruction = compare(result.output, target)
        shares = {"reconstruction": reconstruction, "adversarial": result.adversarial, "features": result.features}
        gradient = self._combined(shares, result.output)
        weights = [weight for weight in self.discriminator.parameters() if weight.requires_grad]
        (result.discriminator * part.weight).backward(inputs=weights)
        reported = losses | {
            "adversarial": result.adversarial,
            "features": result.features,
            "discriminator": result.discriminator,
            "separation": result.discriminator.new_tensor(result.separation),
        }
        return reported, (decoded * gradient).sum()

    def _combined(self, losses: Mapping[str, Tensor], output: Tensor) -> Tensor:
        """The gradient that the decoder gets, shaped as ``output``."""
        if self.config.balanced:
            return self.balancer.gradient(losses, output)[0]
        total = torch.stack([self.balancer.weights[name] * loss for name, loss in losses.items()]).sum()
        return torch.autograd.grad(total, output, retain_graph=True)[0]

    def update(self, step: int) -> dict[str, float]:
        """Apply the discriminators' gradients."""
        return {f"discriminator_{name}": value for name, value in self.optimiser.update(step).items()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "balancer": self.balancer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.balancer.load_state_dict(state["balancer"])
