"""Adversarial losses of the codec: hinge and feature matching (SoundStream paper, section III-E, equations 1 to 4).

Signs: a logit above 0 says bona fide. The discriminator pushes recordings above +1 and decoded audio below -1; the
decoder pushes its own above +1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from audiolm.codec.discriminators import Judgement

__all__ = ["Contest", "contest", "discriminator_hinge", "feature_matching", "generator_hinge"]


def discriminator_hinge(bona_fide: Judgement, decoded: Judgement) -> Tensor:
    """Scalar: mean over networks of the mean over time of both hinges; 2 for a network that answers 0, 0 at best."""
    terms = [
        (1 - a).clamp_min(0).mean() + (1 + b).clamp_min(0).mean()
        for a, b in zip(bona_fide.logits, decoded.logits, strict=True)
    ]
    return torch.stack(terms).mean()


def generator_hinge(decoded: Judgement) -> Tensor:
    """Scalar: mean over networks of the mean over time of ``max(0, 1 - logit)`` on decoded audio."""
    return torch.stack([(1 - logits).clamp_min(0).mean() for logits in decoded.logits]).mean()


def feature_matching(bona_fide: Judgement, decoded: Judgement, *, relative: bool = True) -> Tensor:
    """Scalar: mean over all inner layers of the mean absolute difference of their activations.

    ``relative`` divides each layer's difference by the mean absolute activation on the recording, so that no
    layer counts more for having larger values; without it this is the paper's equation 4. The recording's side carries
    no gradient.
    """
    terms = []
    for ours, theirs in zip(decoded.features, bona_fide.features, strict=True):
        for output, target in zip(ours, theirs, strict=True):
            target = target.detach()
            distance = (output - target).abs().mean()
            terms.append(distance / target.abs().mean().clamp_min(1e-5) if relative else distance)
    return torch.stack(terms).mean()


@dataclass(frozen=True, slots=True)
class Contest:
    """Losses of one batch from a single pass of the discriminator over each side.

    ``output``: the decoded waveform, cut from the decoder's graph, gradients wanted: what a balancer differentiates to.
    ``adversarial`` and ``features``: the decoder's losses; ``discriminator``: the discriminator's own.
    ``separation``: share of logits on the right side of 0, 0.5 to a blind discriminator, 1 to one that always wins.
    """

    output: Tensor
    adversarial: Tensor
    features: Tensor
    discriminator: Tensor
    separation: float


def contest(discriminator: Callable[[Tensor], Judgement], recording: Tensor, decoded: Tensor) -> Contest:
    """Judge ``recording`` and ``decoded``, of one shape, once each, for both players' losses.

    Both update from the same weights of the discriminator, which saves the second pass over the decoded side
    that taking turns needs. Use: gradients of the decoder's losses at ``output`` (``torch.autograd.grad`` with
    ``retain_graph=True``, or :class:`~audiolm.codec.balancer.GradientBalancer`), carry them on with
    ``decoded.backward(gradient)``, then ``discriminator_loss.backward(inputs=list(discriminator.parameters()))``,
    and step both optimisers last.
    """
    if recording.shape != decoded.shape:
        raise ValueError(f"recording {tuple(recording.shape)} and decoded {tuple(decoded.shape)} differ in shape")
    output = decoded.detach().requires_grad_()
    truth, ours = discriminator(recording), discriminator(output)
    with torch.no_grad():
        right = [
            (a > 0).float().mean() + (b < 0).float().mean() for a, b in zip(truth.logits, ours.logits, strict=True)
        ]
        separation = float(torch.stack(right).mean()) / 2
    return Contest(
        output=output,
        adversarial=generator_hinge(ours),
        features=feature_matching(truth, ours),
        discriminator=discriminator_hinge(truth, ours),
        separation=separation,
    )
