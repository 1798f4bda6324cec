"""Fit the log-mel network on labelled clips, on a CPU in minutes; resumable, and the same bytes for the same seed."""

from __future__ import annotations

import copy
import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from detectors.augmentation import AugmentConfig, augment_batch
from detectors.error_rates import eer
from detectors.features import SAMPLE_RATE_HZ, log_mel
from detectors.labelled import LabelledClip
from detectors.networks.mel_cnn import MelCnn, MelCnnConfig

__all__ = ["TrainConfig", "WindowSampler", "fit"]

logger = logging.getLogger(__name__)
SHORTEST_S, LONGEST_S = 1.0, 2.0
CHANNEL_SHARE = 0.4
AVERAGED_STEPS = 100
OWN_CODEC = "own_codec"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """``steps``: optimiser steps; ``patience``: checks without a better held-out loss before stopping."""

    seed: int = 0
    steps: int = 1500
    batch: int = 48
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    check_every: int = 100
    patience: int = 6
    network: MelCnnConfig = field(default_factory=MelCnnConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True, slots=True)
class _Group:
    clips: Sequence[LabelledClip]
    weights: np.ndarray


class WindowSampler:
    """Draws training windows so that no class, channel, or generator outweighs another.

    Half of each batch is bona fide. Within a class, ``CHANNEL_SHARE`` comes through a channel, the same in both
    classes. Within that, generators (or, for bona fide, plain and through our own codec) take equal turns.
    """

    def __init__(self, clips: Sequence[LabelledClip]) -> None:
        self._groups: dict[bool, dict[bool, list[_Group]]] = {True: {}, False: {}}
        grouped: dict[tuple[bool, bool, str], list[LabelledClip]] = {}
        for clip in clips:
            channelled = clip.condition not in ("raw", OWN_CODEC)
            origin = clip.condition if clip.is_bona_fide and not channelled else clip.generator
            grouped.setdefault((clip.is_bona_fide, channelled, origin), []).append(clip)
        for (is_bona_fide, channelled, _), members in sorted(grouped.items(), key=lambda item: item[0]):
            self._groups[is_bona_fide].setdefault(channelled, []).append(_Group(members, _weights(members)))
        if not self._groups[True] or not self._groups[False]:
            raise ValueError("training needs bona fide and synthetic clips; one class is missing")

    def draw(self, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """``(windows [batch, time], labels [batch])``; all windows share a length between 1 and 2 s."""
        length = int(rng.uniform(SHORTEST_S, LONGEST_S) * SAMPLE_RATE_HZ)
        labels = np.arange(count) % 2 == 0
        windows = np.stack([self._window(bool(label), length, rng) for label in labels])
        return windows, labels.astype(np.float32)

    def _window(self, is_bona_fide: bool, length: int, rng: np.random.Generator) -> np.ndarray:
        by_channel = self._groups[is_bona_fide]
        wanted = bool(rng.random() < CHANNEL_SHARE)
        groups = by_channel.get(wanted) or by_channel[not wanted]
        group = groups[int(rng.integers(len(groups)))]
        clip = group.clips[int(rng.choice(len(group.clips), p=group.weights))]
        return crop(clip.samples, length, rng.random())


def _weights(clips: Sequence[LabelledClip]) -> np.ndarray:
    """Chance of each clip: a speaker counts by the square root of their clips, so that few cannot dominate."""
    counts = Counter(clip.speaker_id for clip in clips)
    weights = np.asarray([counts[clip.speaker_id] ** -0.5 for clip in clips])
    return weights / weights.sum()


def crop(samples: np.ndarray, length: int, where: float) -> np.ndarray:
    """``length`` samples from relative position ``where`` in [0, 1); a shorter clip is repeated."""
    if samples.size < length:
        samples = np.tile(samples, -(-length // samples.size))
    start = int(where * (samples.size - length + 1))
    return samples[start : start + length]


@dataclass(slots=True)
class _State:
    """Everything a resumed run needs; ``best`` is the network with the lowest held-out loss so far."""

    step: int = 0
    best_loss: float = float("inf")
    checks_since_best: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    average: dict[str, torch.Tensor] = field(default_factory=dict)


def fit(
    training: Sequence[LabelledClip],
    held: Sequence[LabelledClip],
    config: TrainConfig,
    *,
    noises: Sequence[np.ndarray] = (),
    work: Path | None = None,
) -> tuple[MelCnn, list[dict[str, float]]]:
    """Train on ``training``, choose the checkpoint by ``held`` (other speakers); network and history come back.

    ``noises``: recordings at 16 kHz to mix in. ``work``: a folder to resume from and to keep state in.

    Raises:
        ValueError: a class is missing, a speaker is in both sets, or ``work`` belongs to another configuration.
    """
    shared = {clip.speaker_id for clip in training} & {clip.speaker_id for clip in held}
    if shared:
        raise ValueError(f"speakers {sorted(shared)[:3]} are in training and in held-out clips; split by speaker")
    sampler = WindowSampler(training)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = MelCnn(config.network)
    optimiser = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    state = _resume(work, config, network, optimiser)
    while state.step < config.steps and state.checks_since_best < config.patience:
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(config, state.step)
        loss = _step(network, optimiser, sampler, config, noises, state.step)
        state.step += 1
        _follow(network, state)
        if state.step % config.check_every == 0 or state.step == config.steps:
            _check(_averaged(network, state), held, state, loss)
            _save(work, config, network, optimiser, state)
    network.load_state_dict(state.best)
    return network.eval(), state.history


def _follow(network: MelCnn, state: _State) -> None:
    """Running mean of weights and batch statistics over about ``AVERAGED_STEPS``: steadier than any single step."""
    keep = min(1.0 - 1.0 / AVERAGED_STEPS, state.step / (state.step + 10.0))
    for name, value in network.state_dict().items():
        if name in state.average and value.is_floating_point():
            state.average[name].lerp_(value.detach(), 1.0 - keep)
        else:
            state.average[name] = value.detach().clone()


def _averaged(network: MelCnn, state: _State) -> MelCnn:
    """A copy with the running mean of the weights."""
    twin = copy.deepcopy(network)
    twin.load_state_dict(state.average)
    return twin.eval()


def learning_rate(config: TrainConfig, step: int) -> float:
    """Linear warm-up over a tenth of the steps, then half a cosine down to zero."""
    warm_up = max(1, config.steps // 10)
    if step < warm_up:
        return config.learning_rate * (step + 1) / warm_up
    return config.learning_rate * 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(1, config.steps - warm_up)))


def _step(
    network: MelCnn,
    optimiser: torch.optim.Optimizer,
    sampler: WindowSampler,
    config: TrainConfig,
    noises: Sequence[np.ndarray],
    step: int,
) -> float:
    # The generator depends on seed and step only, so a resumed run draws what an undisturbed one would.
    rng = np.random.default_rng([config.seed, step])
    windows, labels = sampler.draw(config.batch, rng)
    windows = augment_batch(windows, config.augment, noises, rng)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**31)))
        network.train()
        logits = network(_masked(log_mel(torch.from_numpy(windows)), rng))
    loss = binary_cross_entropy_with_logits(logits, torch.from_numpy(labels))
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return float(loss.detach())


def _masked(features: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """One band stripe and one time stripe per window set to the mean (SpecAugment, Park et al., 2019)."""
    bands, frames = features.shape[1:]
    for row in features:
        width, first = int(rng.integers(0, 9)), int(rng.integers(0, bands - 9))
        row[first : first + width] = 0.0
        width, first = int(rng.integers(0, 21)), int(rng.integers(0, frames - 21))
        row[:, first : first + width] = 0.0
    return features


def held_out_scores(network: MelCnn, clips: Sequence[LabelledClip]) -> np.ndarray:
    """One logit per clip, from its middle 2 s: quick, for choosing checkpoints."""
    length = int(LONGEST_S * SAMPLE_RATE_HZ)
    network.eval()
    scores = []
    with torch.inference_mode():
        for first in range(0, len(clips), 32):
            windows = np.stack([crop(clip.samples, length, 0.5) for clip in clips[first : first + 32]])
            scores.append(network(log_mel(torch.from_numpy(windows))).numpy())
    return np.concatenate(scores).astype(np.float64)


def _check(network: MelCnn, held: Sequence[LabelledClip], state: _State, loss: float) -> None:
    scores = held_out_scores(network, held)
    is_bona = np.asarray([clip.is_bona_fide for clip in held])
    generators = np.asarray([clip.generator for clip in held])
    losses = np.logaddexp(0.0, np.where(is_bona, -scores, scores))
    synthetic = [losses[generators == name].mean() for name in sorted(set(generators[~is_bona]))]
    held_loss = float(losses[is_bona].mean() + np.mean(synthetic)) / 2
    rate = eer(scores[is_bona], scores[~is_bona])
    state.history.append({"step": state.step, "loss": loss, "held_loss": held_loss, "held_eer": rate})
    logger.info("step %d: loss %.4f, held-out loss %.4f, EER %.4f", state.step, loss, held_loss, rate)
    state.checks_since_best += 1
    if held_loss < state.best_loss:
        state.best_loss, state.checks_since_best = held_loss, 0
        state.best = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _fingerprint(config: TrainConfig) -> str:
    return json.dumps(asdict(config), sort_keys=True)


def _save(work: Path | None, config: TrainConfig, network: MelCnn, optimiser: Any, state: _State) -> None:
    if work is None:
        return
    from safetensors.torch import save_file

    tensors = {f"network.{name}": value.contiguous() for name, value in network.state_dict().items()}
    tensors |= {f"best.{name}": value.contiguous() for name, value in state.best.items()}
    tensors |= {f"average.{name}": value.contiguous() for name, value in state.average.items()}
    for index, values in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in values.items()}
    progress = {name: getattr(state, name) for name in ("step", "best_loss", "checks_since_best", "history")}
    work.mkdir(parents=True, exist_ok=True)
    temporary = work / "state.tmp"
    save_file(tensors, str(temporary), metadata={"config": _fingerprint(config), "progress": json.dumps(progress)})
    temporary.replace(work / "state.safetensors")


def _resume(work: Path | None, config: TrainConfig, network: MelCnn, optimiser: Any) -> _State:
    path = work / "state.safetensors" if work is not None else None
    if path is None or not path.exists():
        return _State()
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as stream:
        metadata = stream.metadata()
        tensors: Mapping[str, torch.Tensor] = {name: stream.get_tensor(name) for name in stream.keys()}
    if metadata["config"] != _fingerprint(config):
        raise ValueError(f"{path}: was made with another configuration; give another work folder or remove it")
    parts: dict[str, dict[str, torch.Tensor]] = {"network": {}, "best": {}, "average": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor
    network.load_state_dict(parts["network"])
    per_parameter: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in parts["optimiser"].items():
        index, _, rest = name.partition(".")
        per_parameter.setdefault(int(index), {})[rest] = tensor
    progress = json.loads(metadata["progress"])
    full = optimiser.state_dict()
    optimiser.load_state_dict({"state": per_parameter, "param_groups": full["param_groups"]})
    return _State(best=parts["best"], average=parts["average"], **progress)
