"""Configuration of the acoustic tokenizer: the paper's SoundStream and the lighter frame-rate variant."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

__all__ = ["CodecConfig", "nano_codec", "paper_codec"]

FRONT_ENDS = ("seanet", "spectral", "magnitude")
MAX_SIZE, MAX_ENTRIES, MAX_UNITS = 1 << 20, 16, 1_000
"""Bounds on what a configuration may say: far above any codec, far below what a machine falls over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecConfig:
    """Geometry of a SoundStream.

    ``front_end``: ``seanet`` is the published encoder and decoder (SoundStream paper, section III-A); ``spectral``
    swaps their sample-rate layers for a short-time Fourier transform and its inverse, and keeps the causal
    residual units at frame rate, about ten times cheaper on a CPU; ``magnitude`` codes the magnitudes of that transform
    alone and rebuilds phase when decoding (``phase_look_ahead`` frames, ``phase_iterations`` projections each), which
    at a few kbit/s leaves all bits to the spectrum. ``strides`` apply to ``seanet``; their product is
    the hop in samples of all. ``channels`` is C of the paper for ``seanet``; ``encoder_channels`` and
    ``decoder_channels`` are the widths at twice the frame rate and at the frame rate for the other two.
    """

    front_end: str = "seanet"
    sample_rate_hz: int = 16_000
    strides: tuple[int, ...] = (2, 4, 5, 8)
    channels: int = 32
    dilations: tuple[int, ...] = (1, 3, 9)
    latent_dim: int = 128
    n_levels: int = 12
    codebook_size: int = 1024
    ema_decay: float = 0.99
    dead_code_share: float = 0.125
    commitment_weight: float = 0.25
    quantizer_dropout: float = 0.5
    window: int = 640
    encoder_channels: tuple[int, int] = (192, 256)
    decoder_channels: tuple[int, int] = (256, 384)
    encoder_units: tuple[int, int] = (2, 3)
    decoder_units: tuple[int, int] = (4, 3)
    phase_look_ahead: int = 3
    phase_iterations: int = 4

    def __post_init__(self) -> None:
        if self.front_end not in FRONT_ENDS:
            raise ValueError(f"front_end is {self.front_end!r}; use one of {', '.join(FRONT_ENDS)}")
        sizes = {
            "sample_rate_hz": (self.sample_rate_hz,), "strides": self.strides, "channels": (self.channels,),
            "dilations": self.dilations, "latent_dim": (self.latent_dim,), "window": (self.window,),
            "encoder_channels": self.encoder_channels, "decoder_channels": self.decoder_channels,
        }  # fmt: skip
        for name, values in sizes.items():
            if not 0 < len(values) <= MAX_ENTRIES or min(values) < 1 or max(values) > MAX_SIZE:
                raise ValueError(f"{name} is {str(values)[:80]}; use 1 to {MAX_ENTRIES} numbers from 1 to {MAX_SIZE}")
        units = (*self.encoder_units, *self.decoder_units, self.phase_look_ahead, self.phase_iterations)
        if min(units) < 0 or max(units) > MAX_UNITS:
            raise ValueError(f"units, look-ahead and iterations are {str(units)[:80]}; use 0 to {MAX_UNITS}")
        if self.n_levels < 1 or self.codebook_size < 2:
            raise ValueError(f"{self.n_levels} levels of {self.codebook_size} codes; use at least 1 level of 2 codes")
        if self.front_end != "seanet" and (self.hop % 2 or self.window % self.hop):
            raise ValueError(f"window {self.window} must be a multiple of the even hop {self.hop}")
        if self.front_end == "magnitude" and self.window != 2 * self.hop:
            raise ValueError(f"window is {self.window}; the magnitude front end needs twice the hop, {2 * self.hop}")

    @property
    def hop(self) -> int:
        """Samples per frame: the product of the strides."""
        return prod(self.strides)

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.hop

    @property
    def bitrate_bps(self) -> float:
        """Nominal bits per second: frames x levels x log2(codes)."""
        return self.frame_rate_hz * self.n_levels * (self.codebook_size - 1).bit_length()


def paper_codec() -> CodecConfig:
    """AudioLM's speech codec: 16 kHz, strides 2-4-5-8, 12 levels of 1024 codes, 6 kbit/s (section III-B)."""
    return CodecConfig()


def nano_codec() -> CodecConfig:
    """The shipped codec: the paper's token grid with the magnitude front end, trainable on two CPU cores."""
    return CodecConfig(front_end="magnitude", latent_dim=64)
