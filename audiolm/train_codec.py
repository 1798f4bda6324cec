"""The codec as a task of the training loop: warm-up without quantiser, k-means start, then quantised training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from audiolm.checkpoint import config_to_dict, save_part
from audiolm.codec.config import CodecConfig
from audiolm.codec.losses import LogSpectrumLoss, MelLoss, SpectralLoss
from audiolm.codec.quantizer import BatchShare
from audiolm.codec.soundstream import PART, SoundStream
from audiolm.dataset import Recording, draw_crops
from audiolm.optimisation import Optimiser, OptimiserConfig, module_randomness
from audiolm.runtime import Part, Runtime

__all__ = ["CodecTask", "CodecTrainingConfig"]


CODEBOOKS = "quantizer.codebooks"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecTrainingConfig:
    """``quantize_from``: step at which the codebooks start; until then the autoencoder runs unquantised.

    ``decoder_only`` freezes encoder and codebooks, so that stages trained on their codes keep fitting while the
    decoder goes on learning; it needs a trained codec to start from.
    """

    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(
            steps=20_000, learning_rate=8e-4, weight_decay=0.01, betas=(0.8, 0.99), ema_decay=0.998
        )
    )
    batch: int = 8
    seconds: float = 1.0
    quantize_from: int = 300
    mel_weight: float = 1.0
    spectral_weight: float = 8.0
    log_spectrum_weight: float = 1.0
    decoder_only: bool = False
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
        start: SoundStream | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        self.config, self.training, self.held_out = config, training, held_out
        if config.decoder_only and start is None:
            raise ValueError("decoder_only keeps the codes of a trained codec; name the codec to start from")
        with module_randomness(config.seed, 2**31 - 1):
            self.codec = SoundStream(codec_config)
        if start is not None:
            self.codec.load_state_dict(start.state_dict())
        self.codec.encoder.requires_grad_(not config.decoder_only)
        self.runtime = runtime or Runtime()
        device = self.runtime.device
        self.codec.to(device)
        self.log_spectrum = LogSpectrumLoss().to(device)
        self.mel = MelLoss(codec_config.sample_rate_hz).to(device)
        self.spectral = SpectralLoss().to(device)
        self.optimiser = Optimiser(self.codec, config.optimiser, self.runtime)

    def training_step(self, step: int) -> dict[str, float]:
        """One batch of crops, drawn from (seed, step) alone, with a random gain of 0.3 to 1.5 each."""
        config = self.config
        if step == config.quantize_from and not config.decoder_only:
            self._start_codebooks()
        rng = np.random.default_rng([config.seed, step])
        length = int(config.seconds * self.codec.config.sample_rate_hz)
        samples = draw_crops(self.training, batch=config.batch, length=length, rng=rng)
        samples = samples * torch.from_numpy(rng.uniform(0.3, 1.5, (len(samples), 1)).astype(np.float32))
        kept = self._levels_kept(rng) if config.decoder_only else None
        seed = int(rng.integers(2**62))
        draws = torch.Generator()
        report: dict[str, float] = {}
        self.codec.train()
        self.optimiser.zero()
        for part in self.runtime.parts(len(samples)):
            draws.manual_seed(seed)
            losses, total = self._losses(samples[part.rows].to(self.runtime.device), part, draws, kept)
            self.optimiser.backward(total * part.weight, step)
            for name, value in losses.items():
                report[name] = report.get(name, 0.0) + float(value.detach()) * part.weight
        if "commitment" in report:
            runtime = self.runtime
            self.codec.quantizer.learn(draws, total=runtime.total, rank=runtime.rank, world=runtime.world)
        update = self.optimiser.update(step)
        self.optimiser.average[CODEBOOKS].copy_(self.codec.quantizer.codebooks)
        return self.runtime.totals(report) | update

    def _losses(
        self, samples: Tensor, part: Part, draws: torch.Generator, kept: int | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Losses of one part of the batch and their weighted sum; ``kept``: levels, where only the decoder learns."""
        config = self.config
        with self.runtime.autocast():
            if kept is not None:
                output, quantized = self._decoded(samples, kept), None
            else:
                self.codec.quantizer.share = BatchShare(part.rows.start, part.total)
                output, quantized = self.codec(samples, generator=draws)
                self.codec.quantizer.share = None
        output = output.float()
        losses = {
            "mel": self.mel(output, samples),
            "spectral": self.spectral(output, samples),
            "log_spectrum": self.log_spectrum(output, samples),
        }
        total = (
            config.mel_weight * losses["mel"]
            + config.spectral_weight * losses["spectral"]
            + config.log_spectrum_weight * losses["log_spectrum"]
        )
        if quantized is not None:
            losses["commitment"] = quantized.commitment
            total = total + self.codec.config.commitment_weight * quantized.commitment
        return losses, total

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        rate = self.codec.config.sample_rate_hz
        mel, sdr = [], []
        codes: list[Tensor] = []
        with self.optimiser.averaged():
            for item in self.held_out:
                samples = torch.from_numpy(item.samples[: 6 * rate])[None].to(self.runtime.device)
                output, quantized = self.codec(samples)
                mel.append(float(self.mel(output, samples)))
                sdr.append(_si_sdr_db(output[0], samples[0]))
                if quantized is not None:
                    codes.append(quantized.codes[0])
        measures = {"mel": float(np.mean(mel)), "si_sdr_db": float(np.mean(sdr))}
        return measures | (_usage(torch.cat(codes, dim=1), self.codec.config.codebook_size) if codes else {})

    def state_dict(self) -> Mapping[str, Any]:
        return {
            "codec": self.codec.state_dict(),
            "moving_sums": dict(self.codec.quantizer.training_buffers),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.codec.load_state_dict(state["codec"])
        for name, buffer in self.codec.quantizer.training_buffers.items():
            buffer.copy_(state["moving_sums"][name])
        self.optimiser.load_state_dict(state["optimiser"])

    def export(self, folder: Path, record: dict[str, Any]) -> None:
        details = record | {"training": config_to_dict(self.config), "recordings": len(self.training)}
        save_part(
            folder,
            part=PART,
            config=config_to_dict(self.codec.config),
            state_dict=self.optimiser.average,
            record=details,
        )

    def _levels_kept(self, rng: np.random.Generator) -> int:
        """How many levels this batch keeps: half of the batches lose some of the last ones."""
        levels = self.codec.config.n_levels
        return int(rng.integers(1, levels + 1)) if rng.random() < self.codec.config.quantizer_dropout else levels

    def _decoded(self, samples: Tensor, kept: int) -> Tensor:
        """Decoder output for the frozen codes of the first ``kept`` levels."""
        with torch.no_grad():
            latents = self.codec.quantizer.decode(self.codec.quantizer.encode(self.codec.latents(samples), kept))
        return self.codec.decoder(latents)[:, : samples.shape[1]]

    @torch.no_grad()
    def _start_codebooks(self) -> None:
        """k-means of the latents of 200 crops, as the last unquantised weights see them."""
        rng = np.random.default_rng([self.config.seed, 1_000_000_007])
        generator = torch.Generator().manual_seed(self.config.seed)
        rate = self.codec.config.sample_rate_hz
        self.codec.eval()
        latents = []
        for _ in range(10):
            crops = draw_crops(self.training, batch=20, length=rate, rng=rng).to(self.runtime.device)
            latents.append(self.codec.latents(crops).transpose(1, 2).flatten(0, 1))
        self.codec.quantizer.initialise(torch.cat(latents), generator)
        self.optimiser.restart_average()


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
