"""What a preset is, in numbers, before anything is trained: weights, tokens and arithmetic per part.

Models are built on torch's ``meta`` device, which knows shapes and holds no values: a preset of a billion
weights is described in a second and in no memory. The arithmetic counts matrix products and convolutions only (two
operations per multiply-add), three times the forward pass for a training step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from audiolm.codec.config import CodecConfig
from audiolm.codec.soundstream import SoundStream
from audiolm.codec_adversary import AdversaryConfig, discriminator_for
from audiolm.delayed import DelayedStage
from audiolm.parallel import ParallelStage
from audiolm.presets import Preset
from audiolm.semantic.w2v_bert import FRAME_SAMPLES, W2vBert
from audiolm.stages import FRAME_RATE_HZ, Stage, StageConfig
from audiolm.tokens import FRAMES_PER_SEMANTIC
from audiolm.train_stages import StageTraining

__all__ = ["PartFacts", "describe_preset", "stage_facts"]

TRAINING_FACTOR = 3
"""Forward, gradient of the inputs, gradient of the weights."""
CONTEST_FACTOR = 8
"""Passes of the discriminators in a step, in forward passes over one side: both sides forwards (2), the discriminators'
own gradients (4), the gradients of two losses at the decoder's output (2)."""
COUNTED_FRAMES = 8
"""Frames of codes on which the codec's arithmetic is counted; convolutions cost the same for every frame."""


@dataclass(frozen=True, slots=True)
class PartFacts:
    """``parameters``: stored numbers, codebooks included; ``tokens_per_step``: positions the loss sees at full crops
    (codec: frames); ``flops_per_step``: of the whole batch; ``steps``: of the whole training."""

    part: str
    parameters: int
    tokens_per_step: int
    flops_per_step: float
    steps: int

    def as_row(self) -> dict[str, Any]:
        return {
            "part": self.part,
            "parameters": self.parameters,
            "tokens_per_step": self.tokens_per_step,
            "flops_per_step": self.flops_per_step,
            "steps": self.steps,
            "flops": self.flops_per_step * self.steps,
        }


def describe_preset(preset: Preset) -> list[PartFacts]:
    """Facts of every part that is trained by gradient."""
    stages = [stage_facts(config, preset.stage_training[kind]) for kind, config in preset.stages.items()]
    return [
        _codec(preset),
        _w2v_bert(preset),
        *stages,
        *([_parallel(preset)] if preset.parallel else []),
        *([_delayed(preset)] if preset.delayed else []),
    ]


def _codec(preset: Preset) -> PartFacts:
    config, training = preset.codec, preset.codec_training
    with torch.device("meta"):
        codec = SoundStream(config).eval()
        samples = torch.empty(1, COUNTED_FRAMES * config.hop)
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            codec.decoder(codec.latents(samples))
    frames = -(-int(training.seconds * config.sample_rate_hz) // config.hop)
    search = 2 * config.n_levels * config.codebook_size * config.latent_dim
    flops = frames * (counter.get_total_flops() / COUNTED_FRAMES * TRAINING_FACTOR + search)
    if training.adversary is not None:
        flops += CONTEST_FACTOR * _judging(config, training.adversary, training.seconds)
    return PartFacts(
        "codec",
        _numbers(codec),
        training.batch * frames,
        float(training.batch * flops),
        training.optimiser.steps,
    )


def _judging(config: CodecConfig, adversary: AdversaryConfig, seconds: float) -> int:
    """Operations of the discriminators' forward pass over one crop."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"):
        network = discriminator_for(config, adversary).eval()
        samples = torch.empty(1, int(seconds * config.sample_rate_hz))
        with counter, torch.no_grad():
            network(samples)
    return counter.get_total_flops()


def _w2v_bert(preset: Preset) -> PartFacts:
    config, training = preset.w2v_bert, preset.w2v_bert_training
    with torch.device("meta"):
        model = W2vBert(config)
    frames = int(training.crop_s * config.log_mel.sample_rate_hz) // FRAME_SAMPLES
    layers = config.contrastive.layers + config.masked.layers
    per_frame = 2 * sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))
    per_frame += 2 * sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Conv1d))
    per_frame += sum(_subsampling(m, config.log_mel.n_mels) for m in model.subsampler.modules())
    attention = 4 * frames * config.contrastive.dim * layers
    tokens = training.batch * frames
    return PartFacts(
        "w2v-bert",
        _numbers(model),
        tokens,
        float(tokens * (per_frame + attention) * TRAINING_FACTOR),
        training.optimiser.steps,
    )


def _subsampling(module: nn.Module, n_mels: int) -> int:
    """Operations of one of the two strided convolutions per 40 ms frame: 2 x mel / 2, then 1 x mel / 4 places."""
    if not isinstance(module, nn.Conv2d):
        return 0
    places = 2 * (n_mels // 2) if module.in_channels == 1 else n_mels // 4
    return 2 * module.weight.numel() * places


def stage_facts(config: StageConfig, training: StageTraining) -> PartFacts:
    """Facts of one stage, also of one that no preset has."""
    with torch.device("meta"):
        stage = Stage(config)
    length = _positions(config)
    shape = config.transformer
    matrices = sum(m.weight.numel() for m in stage.modules() if isinstance(m, nn.Linear))
    attention = 2 * length * shape.dim * shape.layers  # causal: half of 4 x length x width
    tokens = training.batch * length
    head = 2 * training.batch * config.window * stage.head.numel()  # a target reads the rows of its own level
    return PartFacts(
        f"stage-{config.layout.kind}",
        _numbers(stage),
        tokens,
        float((tokens * (2 * matrices + attention) + head) * TRAINING_FACTOR),
        training.optimiser.steps,
    )


def _parallel(preset: Preset) -> PartFacts:
    config, training = preset.parallel, preset.parallel_training
    if config is None:
        raise ValueError(f"preset {preset.name!r} has no parallel decoder")
    with torch.device("meta"):
        stage = ParallelStage(config)
    frames = training.crop or config.window
    matrices = sum(m.weight.numel() for m in stage.modules() if isinstance(m, (nn.Linear, nn.Conv1d)))
    matrices += stage.into.numel() + stage.out.numel() + stage.codes.numel()
    attention = 4 * frames * config.conformer.dim * config.conformer.layers
    return PartFacts(
        "stage-parallel",
        _numbers(stage),
        training.batch * frames,
        float(training.batch * frames * (2 * matrices + attention) * TRAINING_FACTOR),
        training.optimiser.steps,
    )


def _delayed(preset: Preset) -> PartFacts:
    config, training = preset.delayed, preset.delayed_training
    if config is None:
        raise ValueError(f"preset {preset.name!r} has no delayed decoder")
    with torch.device("meta"):
        stage = DelayedStage(config)
    steps = (training.crop or config.window) + config.n_levels - 1
    shape = config.transformer
    matrices = sum(m.weight.numel() for m in stage.modules() if isinstance(m, nn.Linear))
    matrices += stage.into.numel() + stage.out.numel() + stage.codes.numel()
    matrices += sum(m.weight.numel() for m in stage.context) // FRAMES_PER_SEMANTIC  # type: ignore[union-attr]
    attention = 2 * steps * shape.dim * shape.layers
    return PartFacts(
        "stage-delayed",
        _numbers(stage),
        training.batch * steps,
        float(training.batch * steps * (2 * matrices + attention) * TRAINING_FACTOR),
        training.optimiser.steps,
    )


def _positions(config: StageConfig) -> int:
    """Tokens of a full crop: condition and target."""
    layout = config.layout
    target = config.window * layout.target_levels
    seconds = config.window / FRAME_RATE_HZ[layout.kind]
    if layout.kind == "semantic":
        return target
    if layout.kind == "coarse":
        return target + int(seconds * FRAME_RATE_HZ["semantic"])
    return target + config.window * layout.n_coarse


def _numbers(module: nn.Module) -> int:
    """Values a checkpoint stores."""
    return sum(value.numel() for value in module.state_dict().values())
