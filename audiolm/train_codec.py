"""The codec as a task of the training loop: warm-up without quantiser, k-means start, then quantised training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiolm.checkpoint import config_to_dict, save_part
from audiolm.codec.config import CodecConfig
from audiolm.codec.losses import MelLoss, SpectralLoss
from audiolm.codec.soundstream import PART, SoundStream
from audiolm.dataset import Recording, draw_crops

__all__ = ["CodecTask", "CodecTrainingConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecTrainingConfig:
    """``quantize_from``: step at which the codebooks start; ``steps`` sets the cosine schedule's end."""

    steps: int = 20_000
    batch: int = 8
    seconds: float = 1.0
    learning_rate: float = 8e-4
    final_share: float = 0.05
    warmup_steps: int = 100
    quantize_from: int = 300
    mel_weight: float = 1.0
    spectral_weight: float = 1.0
    clip_norm: float = 1.0
    average_decay: float = 0.998
    seed: int = 0


class CodecTask:
    """Trains a SoundStream on recordings; validates on held-out ones by log-mel distance and SI-SDR."""

    name = PART

    def __init__(
        self,
        codec_config: CodecConfig,
        config: CodecTrainingConfig,
        training: list[Recording],
        held_out: list[Recording],
    ) -> None:
        self.config, self.training, self.held_out = config, training, held_out
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.codec = SoundStream(codec_config)
            self.average = SoundStream(codec_config).eval().requires_grad_(False)
        self.average.load_state_dict(self.codec.state_dict())
        self.mel = MelLoss(codec_config.sample_rate_hz)
        self.spectral = SpectralLoss()
        self.optimiser = torch.optim.AdamW(
            self.codec.parameters(), lr=config.learning_rate, betas=(0.8, 0.99), weight_decay=0.01
        )

    def training_step(self, step: int) -> dict[str, float]:
        config = self.config
        if step == config.quantize_from:
            self._start_codebooks()
        rng = np.random.default_rng([config.seed, step])
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        length = int(config.seconds * self.codec.config.sample_rate_hz)
        samples = draw_crops(self.training, batch=config.batch, length=length, rng=rng)
        samples = samples * torch.from_numpy(rng.uniform(0.3, 1.5, (len(samples), 1)).astype(np.float32))
        self.codec.train()
        output, quantized = self.codec(samples, generator=generator)
        losses = {"mel": self.mel(output, samples), "spectral": self.spectral(output, samples)}
        total = config.mel_weight * losses["mel"] + config.spectral_weight * losses["spectral"]
        if quantized is not None:
            losses["commitment"] = quantized.commitment
            total = total + self.codec.config.commitment_weight * quantized.commitment
        for group in self.optimiser.param_groups:
            group["lr"] = self._learning_rate(step)
        self.optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.codec.parameters(), config.clip_norm)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"codec gradient is not finite at step {step}; lower the learning rate")
        self.optimiser.step()
        self._update_average()
        return {name: float(value.detach()) for name, value in losses.items()} | {"gradient_norm": float(norm)}

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        rate = self.codec.config.sample_rate_hz
        mel, sdr = [], []
        codes: list[Tensor] = []
        for item in self.held_out:
            samples = torch.from_numpy(item.samples[: 6 * rate])[None]
            output, quantized = self.average(samples)
            mel.append(float(self.mel(output, samples)))
            sdr.append(_si_sdr_db(output[0], samples[0]))
            if quantized is not None:
                codes.append(quantized.codes[0])
        measures = {"mel": float(np.mean(mel)), "si_sdr_db": float(np.mean(sdr))}
        return measures | (_usage(torch.cat(codes, dim=1), self.codec.config.codebook_size) if codes else {})

    def state_dict(self) -> Mapping[str, Any]:
        return {
            "codec": self.codec.state_dict(),
            "average": self.average.state_dict(),
            "moving_sums": dict(self.codec.quantizer.training_buffers),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.codec.load_state_dict(state["codec"])
        self.average.load_state_dict(state["average"])
        for name, buffer in self.codec.quantizer.training_buffers.items():
            buffer.copy_(state["moving_sums"][name])
        self.optimiser.load_state_dict(state["optimiser"])

    def export(self, folder: Path, record: dict[str, Any]) -> None:
        details = record | {"training": config_to_dict(self.config), "recordings": len(self.training)}
        save_part(
            folder,
            part=PART,
            config=config_to_dict(self.codec.config),
            state_dict=self.average.state_dict(),
            record=details,
        )

    def _learning_rate(self, step: int) -> float:
        config = self.config
        if step < config.warmup_steps:
            return config.learning_rate * (step + 1) / config.warmup_steps
        progress = min(1.0, (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps))
        cosine = 0.5 * (1.0 + math.cos(math.pi * progress))
        return config.learning_rate * (config.final_share + (1.0 - config.final_share) * cosine)

    @torch.no_grad()
    def _start_codebooks(self) -> None:
        """k-means of the latents of 200 crops, as the last unquantised weights see them."""
        rng = np.random.default_rng([self.config.seed, 1_000_000_007])
        generator = torch.Generator().manual_seed(self.config.seed)
        rate = self.codec.config.sample_rate_hz
        self.codec.eval()
        latents = []
        for _ in range(10):
            crops = draw_crops(self.training, batch=20, length=rate, rng=rng)
            latents.append(self.codec.latents(crops).transpose(1, 2).flatten(0, 1))
        self.codec.quantizer.initialise(torch.cat(latents), generator)
        self.average.quantizer.load_state_dict(self.codec.quantizer.state_dict())

    @torch.no_grad()
    def _update_average(self) -> None:
        weight = 1.0 - self.config.average_decay
        for mean, value in zip(self.average.parameters(), self.codec.parameters(), strict=True):
            mean.lerp_(value, weight)
        self.average.quantizer.codebooks.copy_(self.codec.quantizer.codebooks)


def _si_sdr_db(output: Tensor, target: Tensor) -> float:
    """Scale-invariant signal-to-distortion ratio in dB."""
    scaled = target * (output @ target) / target.square().sum().clamp_min(1e-9)
    return float(10 * torch.log10(scaled.square().sum() / (output - scaled).square().sum().clamp_min(1e-9)))


def _usage(codes: Tensor, size: int) -> dict[str, float]:
    """Mean over levels of the share of codes in use and of the entropy in bits, from codes ``[level, frame]``."""
    shares, entropies = [], []
    for level in codes:
        p = torch.bincount(level, minlength=size).double() / len(level)
        shares.append(float((p > 0).double().mean()))
        entropies.append(float(-(p[p > 0] * p[p > 0].log2()).sum()))
    return {"code_usage": float(np.mean(shares)), "code_entropy_bit": float(np.mean(entropies))}
