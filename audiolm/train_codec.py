"""The codec as a task of the training loop: start of the parts, quantised training, discriminators where asked for."""

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
from audiolm.codec.magnitude import MagnitudeDecoder, MagnitudeEncoder, start_from_principal_components
from audiolm.codec.objectives import objective_for
from audiolm.codec.quantizer import BatchShare, Quantized
from audiolm.codec.soundstream import PART, SoundStream
from audiolm.codec_adversary import Adversary, AdversaryConfig
from audiolm.codec_validation import validate_codec
from audiolm.dataset import Chances, Recording, draw_crops
from audiolm.optimisation import Optimiser, OptimiserConfig, module_randomness
from audiolm.runtime import Part, Runtime

__all__ = ["CodecTask", "CodecTrainingConfig"]

CODEBOOKS = "quantizer.codebooks"
START = 1_000_000_007
"""Stream of the crops that linear maps and codebooks start from, apart from every step's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecTrainingConfig:
    """``quantize_from``: step at which the codebooks start; until then the autoencoder runs unquantised.

    ``start_seconds``: crops of one second from which linear maps start, where the front end has them;
    ``loss_weights``: (name, weight) pairs that replace the objective's own; ``adversary``: discriminators, or None;
    ``decoder_only`` freezes encoder and codebooks, so that stages trained on their codes keep fitting while the
    decoder goes on learning; it needs a trained codec to start from.
    """

    optimiser: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(
            steps=6_000, learning_rate=5e-4, weight_decay=0.01, betas=(0.8, 0.99), ema_decay=0.998
        )
    )
    batch: int = 8
    seconds: float = 1.0
    quantize_from: int = 0
    start_seconds: int = 800
    loss_weights: tuple[tuple[str, float], ...] = ()
    adversary: AdversaryConfig | None = None
    decoder_only: bool = False
    seed: int = 0


class CodecTask:
    """Trains a SoundStream on recordings; validates on held-out ones by what is heard and by the use of codes."""

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
        self.chances = Chances([len(item.samples) for item in training])
        if config.decoder_only and start is None:
            raise ValueError("decoder_only keeps the codes of a trained codec; name the codec to start from")
        self.runtime = runtime or Runtime()
        with module_randomness(config.seed, 2**31 - 1):
            self.codec = SoundStream(codec_config)
            self.adversary = Adversary(codec_config, config.adversary, self.runtime) if config.adversary else None
        self.codec.to(self.runtime.device)
        if start is not None:
            self.codec.load_state_dict(start.state_dict())
            self._start_moving_sums()
        else:
            self._start_linear_maps()
        self.codec.encoder.requires_grad_(not config.decoder_only)
        self.objective = objective_for(codec_config).to(self.runtime.device)
        self.weights = self.objective.WEIGHTS | dict(config.loss_weights)
        if unknown := sorted(self.weights.keys() - self.objective.WEIGHTS.keys()):
            raise ValueError(f"loss weights for {unknown}; this front end has {sorted(self.objective.WEIGHTS)}")
        self.optimiser = Optimiser(self.codec, config.optimiser, self.runtime)

    def training_step(self, step: int) -> dict[str, float]:
        """One batch of crops, drawn from (seed, step) alone, with a random gain of 0.3 to 1.5 each."""
        config = self.config
        if step == config.quantize_from and not bool(self.codec.quantizer.initialised):
            self._start_codebooks()
        rng = np.random.default_rng([config.seed, step])
        samples = self._crops(config.batch, config.seconds, rng)
        samples = samples * torch.from_numpy(rng.uniform(0.3, 1.5, (len(samples), 1)).astype(np.float32))
        kept = self._levels_kept(rng) if config.decoder_only else None
        seed = int(rng.integers(2**62))
        draws = torch.Generator()
        report: dict[str, float] = {}
        self.codec.train()
        self.optimiser.zero()
        contested = self.adversary is not None and self.adversary.begin(step)
        for part in self.runtime.parts(len(samples)):
            draws.manual_seed(seed)
            losses, total = self._losses(samples[part.rows].to(self.runtime.device), part, draws, kept, contested)
            self.optimiser.backward(total * part.weight, step)
            for name, value in losses.items():
                report[name] = report.get(name, 0.0) + float(value) * part.weight
        if "commitment" in report:
            runtime = self.runtime
            self.codec.quantizer.learn(draws, total=runtime.total, rank=runtime.rank, world=runtime.world)
        update = self.optimiser.update(step)
        if self.adversary is not None and contested:
            update |= self.adversary.update(step)
        self.optimiser.average[CODEBOOKS].copy_(self.codec.quantizer.codebooks)
        return self.runtime.totals(report) | update

    def _losses(
        self, samples: Tensor, part: Part, draws: torch.Generator, kept: int | None, contested: bool
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Losses of one part of the batch and what to differentiate; ``kept``: levels, if only the decoder learns."""
        target = self.objective.target(self.codec, samples)
        with self.runtime.autocast():
            latents, quantized = self._latents(samples, part, draws, kept)
            output = self.objective.output(self.codec, latents, samples)
        if self.adversary is not None and contested:
            losses, total = self.adversary.judge(output, target, self._compare, part)
        else:
            losses, total = self._compare(output, target)
        if quantized is not None:
            losses["commitment"] = quantized.commitment
            total = total + self.codec.config.commitment_weight * quantized.commitment
        return {name: value.detach() for name, value in losses.items()}, total

    def _compare(self, output: Tensor, target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Reconstruction losses and their weighted sum."""
        losses = self.objective.losses(output, target)
        return losses, torch.stack([self.weights[name] * value for name, value in losses.items()]).sum()

    def _latents(
        self, samples: Tensor, part: Part, draws: torch.Generator, kept: int | None
    ) -> tuple[Tensor, Quantized | None]:
        """What the decoder gets, and the quantiser's record where the encoder learns with it."""
        quantizer = self.codec.quantizer
        if kept is not None:
            with torch.no_grad():
                return quantizer.decode(quantizer.encode(self.codec.latents(samples), kept)), None
        latents = self.codec.latents(samples)
        if not bool(quantizer.initialised):
            return latents, None
        quantizer.share = BatchShare(part.rows.start, part.total)
        quantized = quantizer(latents, generator=draws)
        quantizer.share = None
        return quantized.latents, quantized

    def validate(self) -> dict[str, float]:
        with self.optimiser.averaged():
            return validate_codec(self.codec, self.held_out)

    def state_dict(self) -> Mapping[str, Any]:
        state = {
            "codec": self.codec.state_dict(),
            "moving_sums": dict(self.codec.quantizer.training_buffers),
            "optimiser": self.optimiser.state_dict(),
        }
        return state if self.adversary is None else state | {"adversary": self.adversary.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.codec.load_state_dict(state["codec"])
        for name, buffer in self.codec.quantizer.training_buffers.items():
            buffer.copy_(state["moving_sums"][name])
        self.optimiser.load_state_dict(state["optimiser"])
        if self.adversary is not None and "adversary" in state:
            self.adversary.load_state_dict(state["adversary"])

    def export(self, folder: Path, record: dict[str, Any]) -> None:
        details = record | {"training": config_to_dict(self.config), "recordings": len(self.training)}
        if self.runtime.is_main:
            save_part(
                folder,
                part=PART,
                config=config_to_dict(self.codec.config),
                state_dict=self.optimiser.average,
                record=details,
            )

    def _crops(self, count: int, seconds: float, rng: np.random.Generator) -> Tensor:
        length = int(seconds * self.codec.config.sample_rate_hz)
        return draw_crops(self.training, batch=count, length=length, rng=rng, chances=self.chances)

    def _levels_kept(self, rng: np.random.Generator) -> int:
        """How many levels this batch keeps: half of the batches lose some of the last ones."""
        levels = self.codec.config.n_levels
        return int(rng.integers(1, levels + 1)) if rng.random() < self.codec.config.quantizer_dropout else levels

    @torch.no_grad()
    def _start_linear_maps(self) -> None:
        """Principal components of crops, where the front end has linear maps to start."""
        encoder, decoder = self.codec.encoder, self.codec.decoder
        if isinstance(encoder, MagnitudeEncoder) and isinstance(decoder, MagnitudeDecoder):
            crops = self._crops(self.config.start_seconds, 1.0, np.random.default_rng([self.config.seed, START, 1]))
            crops = self.codec.whole_frames(crops.to(self.runtime.device))
            start_from_principal_components(encoder, decoder, crops)

    def _start_moving_sums(self) -> None:
        """As if every code of the given codebooks had been hit as often as an even use makes it per step."""
        config, quantizer = self.config, self.codec.quantizer
        per_step = config.batch * config.seconds * self.codec.config.frame_rate_hz / self.codec.config.codebook_size
        quantizer.counts.fill_(per_step)
        quantizer.sums.copy_(quantizer.codebooks * per_step)

    @torch.no_grad()
    def _start_codebooks(self) -> None:
        """k-means of the latents of 200 crops, as the last unquantised weights see them."""
        rng = np.random.default_rng([self.config.seed, START])
        generator = torch.Generator().manual_seed(self.config.seed)
        self.codec.eval()
        latents = []
        for _ in range(10):
            crops = self._crops(20, 1.0, rng).to(self.runtime.device)
            latents.append(self.codec.latents(crops).transpose(1, 2).flatten(0, 1))
        self.codec.quantizer.initialise(torch.cat(latents), generator)
        self.optimiser.restart_average()
