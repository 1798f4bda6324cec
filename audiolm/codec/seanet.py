"""The published SoundStream encoder and decoder: strided causal convolutions at sample rate (section III-A)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.codec.config import CodecConfig
from audiolm.codec.conv import CausalConv1d, CausalConvTranspose1d, as_channels_first, residual_units

__all__ = ["SeanetDecoder", "SeanetEncoder"]


class SeanetEncoder(nn.Module):
    """``[batch, time]`` to latents ``[batch, latent, frame]``; channels double at every stride, from C."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.channels
        self.first = CausalConv1d(1, width, 7)
        blocks = []
        for stride in config.strides:
            units = residual_units(width, len(config.dilations), kernel=7, dilations=config.dilations)
            blocks.append(nn.Sequential(units, nn.ELU(), CausalConv1d(width, 2 * width, 2 * stride, stride=stride)))
            width *= 2
        self.blocks = nn.Sequential(*blocks)
        self.last = CausalConv1d(width, config.latent_dim, 3)

    def forward(self, samples: Tensor) -> Tensor:
        return self.last(F.elu(self.blocks(self.first(as_channels_first(samples)))))


class SeanetDecoder(nn.Module):
    """Latents ``[batch, latent, frame]`` to ``[batch, frame * hop]``: the encoder's mirror."""

    look_ahead = 0
    """Samples of later signal that a decoded sample waits for."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        width = config.channels * 2 ** len(config.strides)
        self.first = CausalConv1d(config.latent_dim, width, 7)
        blocks = []
        for stride in reversed(config.strides):
            units = residual_units(width // 2, len(config.dilations), kernel=7, dilations=config.dilations)
            blocks.append(nn.Sequential(nn.ELU(), CausalConvTranspose1d(width, width // 2, stride), units))
            width //= 2
        self.blocks = nn.Sequential(*blocks)
        self.last = CausalConv1d(width, 1, 7)

    def forward(self, latents: Tensor) -> Tensor:
        return self.last(F.elu(self.blocks(self.first(latents)))).squeeze(1)
