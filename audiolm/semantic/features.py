"""Log-mel frames for the semantic tokenizer: 16 kHz waveform to 100 frames per second."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

__all__ = ["LogMel", "LogMelConfig", "frame_mask", "stretch_bands"]

MIN_POWER = 1e-7
"""Floor below the logarithm: about the power of 16-bit rounding noise in one mel band."""
MIN_DEVIATION = 0.3
"""Floor of the utterance's log-mel deviation (nepers), so that silence is not blown up to speech level."""


MAX_N_FFT = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMelConfig:
    """Front end of w2v-BERT (Chung et al. 2021, section 4.1): 80 mel bands, 25 ms windows, 10 ms hop."""

    sample_rate_hz: int = 16_000
    n_mels: int = 80
    window: int = 400
    hop: int = 160
    n_fft: int = 512
    low_hz: float = 40.0
    high_hz: float = 7_600.0

    def __post_init__(self) -> None:
        if not (1 <= self.hop <= self.window <= self.n_fft <= MAX_N_FFT and 1 <= self.n_mels <= self.n_fft):
            raise ValueError(
                f"hop {self.hop}, window {self.window} and n_fft {self.n_fft} must grow from 1 to {MAX_N_FFT} at most,"
                f" with 1 to n_fft mel bands, not {self.n_mels}"
            )
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"mel bands from {self.low_hz:g} to {self.high_hz:g} Hz must lie within 0 to half of"
                f" {self.sample_rate_hz} Hz"
            )


class LogMel(nn.Module):
    """Waveform ``[batch, time]`` to normalised log-mel ``[batch, time / hop, mel]``, frame centres at hop middles.

    Each band loses its mean over the utterance's valid frames, and the whole is divided by the utterance's
    deviation: level and colour of the channel go, the movement of the spectrum stays.
    """

    def __init__(self, config: LogMelConfig) -> None:
        super().__init__()
        self.config = config
        with torch.device("cpu"):  # also where the model is only described, on the meta device
            bank = melscale_fbanks(
                config.n_fft // 2 + 1,
                config.low_hz,
                config.high_hz,
                config.n_mels,
                config.sample_rate_hz,
                norm=None,
                mel_scale="htk",
            )
        self.register_buffer("bank", bank, persistent=False)  # [frequency, mel]
        self.register_buffer("shape_of_window", torch.hann_window(config.window), persistent=False)

    def forward(self, waveform: Tensor, valid: Tensor) -> Tensor:
        """``waveform``: time a multiple of hop; ``valid``: bool ``[batch, time / hop]``; invalid frames become 0."""
        config = self.config
        side = (config.n_fft - config.hop) // 2
        spectrum = torch.stft(
            F.pad(waveform, (side, side)),
            config.n_fft,
            config.hop,
            config.window,
            self.get_buffer("shape_of_window"),
            center=False,
            return_complex=True,
        )  # [batch, frequency, frame]
        power = torch.view_as_real(spectrum).square().sum(-1).transpose(1, 2)
        log_mel = torch.log(power @ self.get_buffer("bank") + MIN_POWER)  # [batch, frame, mel]
        keep = valid.unsqueeze(-1).to(log_mel.dtype)
        count = keep.sum(dim=1, keepdim=True).clamp(min=1.0)
        mean = (log_mel * keep).sum(dim=1, keepdim=True) / count
        centred = (log_mel - mean) * keep
        deviation = (centred.square().mean(dim=2, keepdim=True).sum(dim=1, keepdim=True) / count).sqrt()
        return centred / deviation.clamp(min=MIN_DEVIATION)


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """Bool ``[batch, frames]``: True where the frame index is below the row's length."""
    return torch.arange(frames, device=lengths.device) < lengths.unsqueeze(1)


def stretch_bands(log_mel: Tensor, factors: Tensor, config: LogMelConfig) -> Tensor:
    """``log_mel`` ``[batch, frame, mel]`` as if each row's frequencies were divided by its factor ``[batch]``.

    Band values are interpolated between the two bands around the wanted frequency; beyond the ends the end bands stand.
    """
    low, high = (2595.0 * math.log10(1.0 + hz / 700.0) for hz in (config.low_hz, config.high_hz))
    step = (high - low) / (config.n_mels + 1)
    band = torch.arange(1, config.n_mels + 1, device=log_mel.device)
    centres_hz = 700.0 * (10.0 ** ((low + step * band) / 2595.0) - 1.0)
    wanted = 2595.0 * torch.log10(1.0 + factors[:, None] * centres_hz / 700.0)
    place = ((wanted - low) / step - 1.0).clamp(0, config.n_mels - 1)  # [batch, mel]
    below = place.floor().long().clamp(max=config.n_mels - 2)
    share = (place - below).unsqueeze(1)
    lower, upper = (
        log_mel.gather(2, index.unsqueeze(1).expand(-1, log_mel.shape[1], -1)) for index in (below, below + 1)
    )
    return lower + share * (upper - lower)
