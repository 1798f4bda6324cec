"""Small neural codecs and vocoders of our own, trained in a minute each, to make synthetic speech for detectors.

They are no good codecs. They have what such systems share (rounded latents or a mel spectrogram, a learnt decoder,
spectra smoothed by a regression loss), each in another geometry, so that a detector meets several decoders.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from detectors.features import mel_matrix
from detectors.preparation import resample

__all__ = ["NEURAL_GENERATORS", "NeuralGenerator", "resynthesise", "train_generator"]

logger = logging.getLogger(__name__)
RATE_HZ = 16_000
WINDOW = 8_000
BATCH = 8
LEARNING_RATE = 2e-3
LOSS_FFTS = (256, 512, 1024)
LATENT_LEVELS = 7
STEPS = 150


@dataclass(frozen=True, slots=True, kw_only=True)
class NeuralGenerator:
    """Geometry: ``front`` is ``wave`` (a codec: learnt analysis, rounded latents) or ``mel`` (a vocoder); ``back`` how
    frames become samples: one ``transposed`` convolution, inverse ``stft``, or stages of ``strides`` (whose product is
    the hop), by transposed convolution (``staged``) or by repetition (``nearest``). The rest runs at the frame rate.
    ``rate_hz``: of the sound inside.
    """

    front: str
    back: str
    hop: int
    latent: int = 40
    width: int = 160
    bands: int = 80
    snake: bool = False
    strides: tuple[int, ...] = ()
    rate_hz: int = RATE_HZ


class Snake(nn.Module):
    """``x + sin(x)^2``, the periodic activation of recent codecs (Ziyin et al. 2020)."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sin(x).square()


class _Residual(nn.Module):
    def __init__(self, channels: int, dilation: int, snake: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation),
            Snake() if snake else nn.LeakyReLU(0.1),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class _InverseStft(nn.Module):
    """Log-magnitude and phase of a short-time spectrum, back to samples (as in Vocos, Siuzdak 2023)."""

    def __init__(self, channels: int, hop: int) -> None:
        super().__init__()
        self.hop, self.size = hop, 4 * hop
        self.head = nn.Conv1d(channels, 2 * (self.size // 2 + 1), 1)

    def forward(self, x: Tensor) -> Tensor:
        log_magnitude, phase = F.pad(self.head(x), (0, 1)).chunk(2, dim=1)
        spectrum = torch.polar(log_magnitude.clamp(max=5.0).exp(), phase)
        window = torch.hann_window(self.size)
        return torch.istft(spectrum, self.size, self.hop, self.size, window, length=x.shape[2] * self.hop)[:, None]


def _stages(config: NeuralGenerator) -> nn.Module:
    """From the frame rate to samples in steps, halving the width at each, as SoundStream, EnCodec and HiFi-GAN do."""
    layers: list[nn.Module] = []
    width = config.width
    for stride in config.strides:
        after = max(12, width // 2)
        if config.back == "nearest":
            layers += [nn.Upsample(scale_factor=stride), nn.Conv1d(width, after, 5, padding=2)]
        else:
            pad = (stride + 1) // 2
            layers.append(nn.ConvTranspose1d(width, after, 2 * stride, stride, pad, output_padding=2 * pad - stride))
        layers += [Snake() if config.snake else nn.LeakyReLU(0.1), _Residual(after, 3, config.snake)]
        width = after
    return nn.Sequential(*layers, nn.Conv1d(width, 1, 7, padding=3))


class _Network(nn.Module):
    """Samples ``[batch, time]`` (a multiple of the hop) to samples of the same shape."""

    filters: Tensor

    def __init__(self, config: NeuralGenerator) -> None:
        super().__init__()
        self.config = config
        hop, width = config.hop, config.width
        if config.front == "wave":
            self.encoder: nn.Module = nn.Sequential(
                nn.Conv1d(1, width, 2 * hop, hop, padding=hop // 2),
                *[_Residual(width, dilation, config.snake) for dilation in (1, 2)],
                nn.Conv1d(width, config.latent, 3, padding=1),
            )
        else:
            filters = mel_matrix(config.bands, fft_size=1024, lowest_hz=0.0, highest_hz=8_000.0)
            self.register_buffer("filters", torch.from_numpy(filters))
        inputs = config.latent if config.front == "wave" else config.bands
        backs = {
            "stft": lambda: _InverseStft(width, hop),
            "transposed": lambda: nn.ConvTranspose1d(width, 1, 2 * hop, hop, padding=hop // 2),
            "staged": lambda: _stages(config),
            "nearest": lambda: _stages(config),
        }
        last = backs[config.back]()
        body = [_Residual(width, dilation, config.snake) for dilation in (1, 3, 1, 3)]
        self.decoder = nn.Sequential(nn.Conv1d(inputs, width, 5, padding=2), *body, last)

    def forward(self, samples: Tensor) -> Tensor:
        latents = self._latents(samples)[:, :, : samples.shape[1] // self.config.hop]
        made = self.decoder(latents)[:, 0]
        return F.pad(made, (0, max(0, samples.shape[1] - made.shape[1])))[:, : samples.shape[1]]

    def _latents(self, samples: Tensor) -> Tensor:
        if self.config.front == "mel":
            window = torch.hann_window(1024)
            power = torch.stft(samples, 1024, self.config.hop, 1024, window, return_complex=True).abs().square()
            return torch.log(torch.matmul(self.filters, power) + 1e-5)
        soft = (LATENT_LEVELS - 1) / 2 * torch.tanh(self.encoder(samples[:, None]))
        return soft + (soft.round() - soft).detach()  # straight-through rounding (Mentzer et al. 2023)


def _loss(made: Tensor, wanted: Tensor, waveform_weight: float) -> Tensor:
    total = waveform_weight * F.l1_loss(made, wanted)
    for size in LOSS_FFTS:
        window = torch.hann_window(size)
        one, two = (
            torch.stft(signal, size, size // 4, size, window, return_complex=True).abs() + 1e-4
            for signal in (made, wanted)
        )
        total = total + F.l1_loss(one.log(), two.log()) + F.l1_loss(one, two)
    return total


def train_generator(
    config: NeuralGenerator, recordings: Sequence[np.ndarray], *, seed: int, steps: int = STEPS
) -> _Network:
    """A network trained for ``steps`` on 16 kHz recordings; ValueError where none is long enough."""
    usable = [recording for recording in recordings if recording.size > WINDOW]
    if not usable:
        raise ValueError(f"no recording is longer than {WINDOW / RATE_HZ:.1f} s; give longer ones")
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Network(config)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, betas=(0.8, 0.95))
    loss = torch.zeros(())
    length = WINDOW // config.hop * config.hop
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = LEARNING_RATE * (0.05 + 0.475 * (1.0 + math.cos(math.pi * step / steps)))
        batch = np.stack([_piece(usable[int(rng.integers(len(usable)))], length, rng) for _ in range(BATCH)])
        wanted = torch.from_numpy(batch)
        loss = _loss(network(wanted), wanted, 20.0 if config.front == "wave" else 0.0)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    logger.info("%s/%s: %d steps, loss %.3f", config.front, config.back, steps, float(loss.detach()))
    return network.eval()


def _piece(recording: np.ndarray, length: int, rng: np.random.Generator) -> np.ndarray:
    start = int(rng.integers(recording.size - length + 1))
    piece = recording[start : start + length]
    return (piece / max(float(np.abs(piece).max()), 1e-3) * 0.7).astype(np.float32)


def resynthesise(network: _Network, samples: np.ndarray) -> np.ndarray:
    """``samples`` (float32 ``[time]``, 16 kHz) through the network, at the level they had."""
    rate_hz = network.config.rate_hz
    made = resample(_through(network, resample(samples, RATE_HZ, rate_hz)), rate_hz, RATE_HZ)[: samples.size]
    return np.pad(made, (0, samples.size - made.size))


def _through(network: _Network, samples: np.ndarray) -> np.ndarray:
    peak = max(float(np.abs(samples).max()), 1e-6)
    hop = network.config.hop
    padded = np.pad(samples, (0, -samples.size % hop)).astype(np.float32) / peak * 0.7
    with torch.inference_mode():
        made = network(torch.from_numpy(padded)[None])[0].numpy()[: samples.size]
    level = np.sqrt(np.mean(samples.astype(np.float64) ** 2) / (np.mean(made.astype(np.float64) ** 2) + 1e-12))
    scaled = made * level
    return (scaled / max(1.0, float(np.abs(scaled).max()))).astype(np.float32)


NEURAL_GENERATORS: Mapping[str, NeuralGenerator] = MappingProxyType(
    {
        "neural_codec": NeuralGenerator(front="wave", back="transposed", hop=160, latent=48),
        "neural_codec_stft": NeuralGenerator(front="wave", back="stft", hop=200, latent=32, snake=True),
        "neural_vocoder": NeuralGenerator(front="mel", back="stft", hop=160, width=192),
        "neural_codec_staged": NeuralGenerator(
            front="wave", back="staged", hop=160, latent=64, width=128, strides=(5, 4, 4, 2), snake=True
        ),
        "neural_codec_24k": NeuralGenerator(
            front="wave", back="staged", hop=240, latent=64, width=128, strides=(5, 4, 4, 3), rate_hz=24_000
        ),
        "neural_vocoder_staged": NeuralGenerator(
            front="mel", back="staged", hop=256, width=160, strides=(8, 8, 4), rate_hz=22_050
        ),
        "neural_vocoder_nearest": NeuralGenerator(front="mel", back="nearest", hop=200, width=128, strides=(5, 5, 8)),
    }
)
