"""SoundStream: sound to acoustic tokens and back (Zeghidour et al. 2021; AudioLM section III-B)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm.checkpoint import build, config_from_dict, config_to_dict, load_part, save_part
from audiolm.codec.config import CodecConfig
from audiolm.codec.incremental import incremental
from audiolm.codec.magnitude import MagnitudeDecoder, MagnitudeEncoder
from audiolm.codec.quantizer import Quantized, ResidualQuantizer
from audiolm.codec.relay import in_relay
from audiolm.codec.seanet import SeanetDecoder, SeanetEncoder
from audiolm.codec.spectral import SpectralDecoder, SpectralEncoder

__all__ = ["SoundStream"]

PART = "codec"
CHUNK_FRAMES = 50
"""Frames of codes (1 s) that the incremental twins take at a time."""
FRONT_ENDS: dict[str, tuple[type[nn.Module], type[nn.Module]]] = {
    "seanet": (SeanetEncoder, SeanetDecoder),
    "spectral": (SpectralEncoder, SpectralDecoder),
    "magnitude": (MagnitudeEncoder, MagnitudeDecoder),
}


class SoundStream(nn.Module):
    """Encoder, residual quantiser, decoder.

    ``encode`` turns a waveform ``[batch, time]`` into codes ``[batch, level, frame]``, int64 in
    ``[0, codebook_size)``, one frame per ``config.hop`` samples (the last frame is filled up with silence);
    ``decode`` turns codes of the first ``level`` levels, any number, into ``[batch, frame * hop]``.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        encoder, decoder = FRONT_ENDS[config.front_end]
        self.encoder = encoder(config)
        self.quantizer = ResidualQuantizer(config)
        self.decoder = decoder(config)
        self.record: Mapping[str, object] = {}
        self._twins: dict[bool, tuple[Any, nn.Module]] = {}

    @property
    def sample_rate_hz(self) -> int:
        return self.config.sample_rate_hz

    @property
    def hop(self) -> int:
        return self.config.hop

    @property
    def frame_rate_hz(self) -> float:
        return self.config.frame_rate_hz

    @property
    def n_levels(self) -> int:
        return self.config.n_levels

    @property
    def codebook_size(self) -> int:
        return self.config.codebook_size

    def latents(self, samples: Tensor) -> Tensor:
        """Latents ``[batch, latent, frame]`` of ``[batch, time]`` before quantisation."""
        if samples.ndim != 2 or samples.shape[1] == 0:
            raise ValueError(f"waveform has shape {tuple(samples.shape)}; give [batch, time] with at least one sample")
        return self.encoder(self.whole_frames(samples))

    def whole_frames(self, samples: Tensor) -> Tensor:
        """``[batch, time]`` with the last frame filled up with silence."""
        return F.pad(samples, (0, -samples.shape[1] % self.config.hop))

    def forward(self, samples: Tensor, *, generator: torch.Generator | None = None) -> tuple[Tensor, Quantized | None]:
        """Reconstruction ``[batch, time]`` and the quantised latents (None until the codebooks are initialised)."""
        latents = self.latents(samples)
        if not bool(self.quantizer.initialised):
            return self.decoder(latents)[:, : samples.shape[1]], None
        quantized = self.quantizer(latents, generator=generator)
        return self.decoder(quantized.latents)[:, : samples.shape[1]], quantized

    @torch.inference_mode()
    def encode(self, samples: Tensor, n_levels: int | None = None) -> Tensor:
        if not self._in_chunks(samples):
            return self.quantizer.encode(self.latents(samples), n_levels)
        padded = F.pad(samples, (0, -samples.shape[1] % self.hop))
        pieces = padded.split(CHUNK_FRAMES * self.hop, dim=1)
        return self.quantizer.encode(self._run(self.encoder, pieces, dim=2), n_levels)

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        latents = self.quantizer.decode(codes)
        if not self._in_chunks(latents):
            return self.decoder(latents)
        return self._run(self.decoder, latents.split(CHUNK_FRAMES, dim=2), dim=1)

    def _in_chunks(self, x: Tensor) -> bool:
        """Whether ``x`` goes through the incremental twins piece by piece, so that activations stay in a processor's
        cache: where the networks work at sample rate and look at nothing later."""
        return self.config.front_end == "seanet" and x.device.type == "cpu" and 0 not in x.shape and x.ndim > 1

    def _run(self, network: nn.Module, pieces: Sequence[Tensor], *, dim: int) -> Tensor:
        """``network`` over consecutive pieces, by a twin whose weights are folded anew when they have changed."""
        state = tuple((value.data_ptr(), value._version) for value in network.parameters())
        known = self._twins.get(network is self.encoder)
        if known is None or known[0] != state:
            known = (state, incremental(network)[0])
            self._twins[network is self.encoder] = known
        return torch.cat(in_relay(known[1], pieces), dim=dim)

    def __getstate__(self) -> dict[str, Any]:
        """Copies and other processes fold the weights again."""
        return self.__dict__ | {"_twins": {}}

    def save(self, folder: str | Path, record: Mapping[str, Any]) -> None:
        """Write configuration and weights as part ``codec``."""
        save_part(folder, part=PART, config=config_to_dict(self.config), state_dict=self.state_dict(), record=record)

    @classmethod
    def load(cls, folder: str | Path) -> SoundStream:
        """The codec stored in a part folder, ready for inference.

        Raises:
            CheckpointError: not ours, truncated, changed, or of another shape.
        """
        config, state, record = load_part(Path(folder), PART)
        settings = config_from_dict(CodecConfig, config)
        codec = build(lambda: cls(settings), state, folder)
        codec.record = record
        return codec.eval()
