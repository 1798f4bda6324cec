"""What vocoders and codecs leave behind, imitated on recordings with everything drawn at random.

Nobody has all systems to train on. These have what such systems share: a smoothed or rounded spectrogram, a guessed
phase, images of a learnt upsampling, noise in place of a coded band, a bent decoder; each time with other sizes, so
that a detector learns the family and not one member. Each takes and gives float32 ``[time]`` at 16 kHz, same length
and level.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detectors.preparation import resample
from evaluation.detector_codecs import own_codec
from evaluation.detector_levels import at_level_of

__all__ = ["IMITATIONS", "band_filled", "codec_bent", "images", "mel_inverted", "phase_blurred", "transform_coded"]

RATE_HZ = 16_000
BEND_RATES = (0.62, 0.7, 0.8, 0.9, 1.12, 1.25, 1.4, 1.6)


def _drawn_phase(phase: Tensor, rng: np.random.Generator) -> Tensor:
    """True phase at low frequencies, passing into drawn phase higher up: how vocoders usually are."""
    bins = phase.shape[0]
    start, width = rng.uniform(-0.3, 0.6) * bins, rng.uniform(0.05, 0.5) * bins
    share = torch.clamp((torch.arange(bins) - start) / width, 0.0, 1.0)[:, None]
    noise = torch.from_numpy(rng.standard_normal(tuple(phase.shape)).astype(np.float32))
    return phase + share * float(rng.uniform(0.6, 3.0)) * noise


def _rebuilt(magnitude: Tensor, phase: Tensor, size: int, hop: int, length: int, rounds: int) -> np.ndarray:
    """Griffin-Lim from a given phase, ``rounds`` times (none: as it is)."""
    window = torch.hann_window(size)
    made = torch.istft(torch.polar(magnitude, phase), size, hop, size, window, length=length)
    for _ in range(rounds):
        angle = torch.stft(made, size, hop, size, window, return_complex=True).angle()
        made = torch.istft(torch.polar(magnitude, angle), size, hop, size, window, length=length)
    return made.numpy()


def _spectrum(samples: np.ndarray, rng: np.random.Generator) -> tuple[Tensor, int, int]:
    size = int(rng.choice([320, 400, 512, 640, 800, 1024, 1280]))
    hop = size // int(rng.choice([2, 3, 4, 5]))
    signal = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    return torch.stft(signal, size, hop, size, torch.hann_window(size), return_complex=True), size, hop


def mel_inverted(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A mel spectrogram of drawn size, smoothed or rounded as a predicted one is, back to sound."""
    from torchaudio.functional import melscale_fbanks

    spectrum, size, hop = _spectrum(samples, rng)
    bands = int(rng.choice([48, 64, 80, 100, 128]))
    filters = melscale_fbanks(size // 2 + 1, 0.0, float(rng.choice([7_600.0, 8_000.0])), min(bands, size // 6), RATE_HZ)
    levels = torch.log(filters.T @ spectrum.abs().square() + 1e-8)
    if rng.random() < 0.4:
        reach = (int(rng.choice([1, 3])), int(rng.choice([1, 3, 5])))
        padding = (reach[0] // 2, reach[1] // 2)
        levels = torch.nn.functional.avg_pool2d(levels[None], reach, 1, padding, count_include_pad=False)[0]
    if rng.random() < 0.4:
        step = float(rng.uniform(0.3, 1.5))
        levels = torch.round(levels / step) * step
    spread = filters / filters.sum(1, keepdim=True).clamp_min(1e-6)
    power = spread @ (levels.exp() / filters.sum(0).clamp_min(1e-6)[:, None])
    magnitude = power.clamp_min(1e-10).sqrt()
    fine = spectrum.abs() / magnitude.clamp_min(1e-6)
    kept = float(rng.choice([0.0, 0.3, 0.6, 0.85]))  # how much of the harmonics a learnt vocoder puts back
    magnitude = magnitude * fine.clamp(1e-3, 1e2).pow(kept)
    phase = _drawn_phase(spectrum.angle(), rng)
    rounds = int(rng.choice([0, 2, 5, 12, 30]))
    return at_level_of(_rebuilt(magnitude, phase, size, hop, samples.size, rounds), samples)


def phase_blurred(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Exact magnitudes, with a phase that is right low down and drawn higher up."""
    spectrum, size, hop = _spectrum(samples, rng)
    magnitude = spectrum.abs()
    if rng.random() < 0.5:
        grain = torch.from_numpy(rng.standard_normal(tuple(magnitude.shape)).astype(np.float32))
        magnitude = magnitude * torch.exp(float(rng.uniform(0.05, 0.4)) * grain)
    rounds = int(rng.choice([0, 1, 3, 8, 20]))
    made = _rebuilt(magnitude, _drawn_phase(spectrum.angle(), rng), size, hop, samples.size, rounds)
    return at_level_of(made, samples)


def transform_coded(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Short-time coefficients rounded on a logarithmic scale, weak ones replaced by noise: a crude learnt codec."""
    spectrum, size, hop = _spectrum(samples, rng)
    magnitude, phase = spectrum.abs(), spectrum.angle()
    step = float(rng.uniform(0.15, 0.8))
    coded = torch.exp(torch.round(torch.log(magnitude + 1e-5) / step) * step)
    steps = int(rng.choice([6, 8, 12, 16]))
    angle = torch.round(phase / (2 * np.pi) * steps) * (2 * np.pi / steps)
    weak = magnitude < magnitude.amax(0, keepdim=True) * 10.0 ** (-float(rng.uniform(25.0, 50.0)) / 20.0)
    chance = torch.from_numpy(rng.uniform(-np.pi, np.pi, tuple(magnitude.shape)).astype(np.float32))
    angle = torch.where(weak, chance, angle)
    made = _rebuilt(coded, angle, size, hop, samples.size, int(rng.choice([0, 1, 2])))
    return at_level_of(made, samples)


def images(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Upsampling as learnt decoders do it: the low band comes again, turned, above; a gain that repeats each stride."""
    factor = float(rng.choice([2.0, 2.0, 2.5, 3.0, 4.0]))
    low = resample(samples, RATE_HZ, int(RATE_HZ / factor))
    place = np.arange(samples.size) / factor
    index = np.minimum(place.astype(int), low.size - 1)
    held = low[index]
    part = place - place.astype(int)
    drawn = (1 - part) * held + part * low[np.minimum(index + 1, low.size - 1)]
    rough = (drawn if rng.random() < 0.5 else held) - resample(low, int(RATE_HZ / factor), RATE_HZ)[: held.size].copy()
    made = samples + float(rng.uniform(0.2, 0.9)) * rough
    period = int(rng.choice([2, 4, 5, 8, 10, 16, 20, 40, 80, 160, 320]))
    gain = 1.0 + float(rng.uniform(0.02, 0.15)) * rng.standard_normal(period)
    bias = float(rng.uniform(0.0, 0.003)) * rng.standard_normal(period) * np.abs(samples).max()
    repeats = -(-samples.size // period)
    made = made * np.tile(gain, repeats)[: samples.size] + np.tile(bias, repeats)[: samples.size]
    return at_level_of(made, samples)


def band_filled(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Above a drawn frequency the waveform is made anew: noise, or the band below, under the old envelope."""
    spectrum, size, hop = _spectrum(samples, rng)
    bins = spectrum.shape[0]
    first = int(rng.uniform(0.15, 0.6) * bins)
    bands = max(2, int(rng.integers(3, 16)))
    made = spectrum.clone()
    if rng.random() < 0.5:
        source = torch.randn(spectrum.shape, generator=torch.Generator().manual_seed(int(rng.integers(2**31))))
        source = torch.polar(source.abs() + 0.1, 3.14159 * source)
    else:
        source = spectrum[torch.arange(bins) % first]
    edges = np.unique(np.linspace(first, bins, bands + 1).astype(int))
    for begin, end in zip(edges, edges[1:], strict=False):
        wanted = spectrum[begin:end].abs().square().mean(0, keepdim=True).sqrt()
        smooth = torch.nn.functional.avg_pool1d(wanted[None], 3, 1, 1, count_include_pad=False)[0]
        has = source[begin:end].abs().square().mean(0, keepdim=True).sqrt().clamp_min(1e-8)
        made[begin:end] = source[begin:end] / has * smooth
    sound = torch.istft(made, size, hop, size, torch.hann_window(size), length=samples.size)
    return at_level_of(sound.numpy(), samples)


def _bent(codec: Any, rng: np.random.Generator) -> Any:
    """A copy whose decoder's weights are moved, each output channel by a gain and each weight by noise."""
    twin = copy.deepcopy(codec)
    strength = float(rng.uniform(0.03, 0.2))
    with torch.no_grad():
        for weight in twin.decoder.parameters():
            if weight.ndim > 1:
                noise = torch.from_numpy(rng.standard_normal(tuple(weight.shape)).astype(np.float32))
                gain = torch.from_numpy(rng.standard_normal((weight.shape[0], 1, 1)).astype(np.float32))
                weight.mul_(1.0 + strength * gain).add_(0.7 * strength * weight.std() * noise)
    return twin


def codec_bent(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Through our codec with a bent decoder or at another rate, at a drawn depth; sometimes mixed with what went in."""
    codec, rate_hz = own_codec(), RATE_HZ
    how = rng.random()
    if how < 0.7:
        rate_hz = round(RATE_HZ * float(rng.choice(BEND_RATES)) * float(rng.uniform(0.97, 1.03)))
    if how > 0.4:
        codec = _bent(codec, rng)
    levels = min(int(rng.choice([2, 4, 6, 8, 12, 12, 12])), codec.n_levels)
    inside = torch.from_numpy(resample(samples, RATE_HZ, rate_hz).copy())[None]
    with torch.inference_mode():
        made = codec.decode(codec.encode(inside, levels))[0].numpy()
    made = at_level_of(resample(made, rate_hz, RATE_HZ), samples)
    if rng.random() < 0.25:
        share = float(rng.uniform(0.5, 0.9))
        made = at_level_of(share * made + (1.0 - share) * samples, samples)
    return made


IMITATIONS: Mapping[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = MappingProxyType(
    {
        "mel_inverted": mel_inverted,
        "phase_blurred": phase_blurred,
        "transform_coded": transform_coded,
        "images": images,
        "band_filled": band_filled,
        "codec_bent": codec_bent,
    }
)
