"""How the shipped ``nano`` is made: its parts in order, each read from the folder that the part before it wrote."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from audiolm.checkpoint import part_digest
from audiolm.codec import nano_codec
from audiolm.dataset import Recording, read_recordings
from audiolm.optimisation import OptimiserConfig
from audiolm.parallel import nano_parallel
from audiolm.semantic.tokenizer import W2vBertTokenizer
from audiolm.stages import nano_stage
from audiolm.token_cache import tokenised
from audiolm.train_codec import CodecTask, CodecTrainingConfig
from audiolm.train_parallel import ParallelTask, ParallelTraining
from audiolm.train_semantic import W2vBertTask, W2vBertTraining, fit_kmeans
from audiolm.train_stages import StageTask, StageTraining, TokenisedUtterance
from audiolm.training import LoopConfig, TrainingTask, train

__all__ = ["PARTS", "Recipe", "train_part"]

PARTS = ("codec", "w2v-bert", "semantic", "stage-semantic", "stage-coarse", "stage-fine", "stage-parallel", "model")
MODEL_PARTS = ("codec", "semantic", "stage_semantic", "stage_coarse", "stage_fine")
OPTIONAL_PARTS = ("stage_parallel",)
"""In the model where they were trained."""
KINDS = ("semantic", "coarse", "fine")
SAMPLE_RATE_HZ = 16_000
STEPS = {
    "codec": 20_000,
    "w2v-bert": 4_000,
    "stage-semantic": 4_000,
    "stage-coarse": 8_000,
    "stage-fine": 8_000,
    "stage-parallel": 8_000,
}
N_SEMANTIC = 256
STAGE_BATCH = {"semantic": 4, "coarse": 4, "fine": 8}
"""Crops per step: about 2,000 to 5,000 tokens, a few seconds of one CPU core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training run: where the data is, where the parts go, how long each may take."""

    data: Path
    out: Path
    steps: int | None = None
    minutes: float | None = None
    resume: bool = False
    seed: int = 0
    max_seconds_per_speaker: float | None = 300.0

    def recordings(self, split: str) -> list[Recording]:
        cap = self.max_seconds_per_speaker if split == "train" else None
        return read_recordings(self.data, split=split, sample_rate_hz=SAMPLE_RATE_HZ, max_seconds_per_speaker=cap)

    def export(self, part: str) -> Path:
        """Where the finished part lies."""
        return self.out / part / "export"

    def total_steps(self, part: str) -> int:
        return self.steps or STEPS[part]


def train_part(part: str, recipe: Recipe) -> dict[str, Any]:
    """Make one part; returns its training record.

    Raises:
        ValueError: unknown part, a part it rests on is missing, or its folder is in use without ``resume``.
    """
    if part == "semantic":
        return _fit_semantic(recipe)
    if part == "model":
        return _assemble(recipe)
    makers = {
        "codec": _codec,
        "w2v-bert": _w2v_bert,
        "stage-parallel": _parallel,
        **{f"stage-{kind}": _stage for kind in KINDS},
    }
    if part not in makers:
        raise ValueError(f"there is no part {part!r}; use one of {', '.join(PARTS)}")
    task = makers[part](part, recipe)
    loop = LoopConfig(steps=recipe.total_steps(part), minutes=recipe.minutes)
    return train(task, recipe.out / part, loop, resume=recipe.resume)


def _codec(part: str, recipe: Recipe) -> TrainingTask:
    defaults = CodecTrainingConfig()
    optimiser = replace(defaults.optimiser, steps=recipe.total_steps(part))
    config = replace(defaults, optimiser=optimiser, seed=recipe.seed)
    return CodecTask(nano_codec(), config, recipe.recordings("train"), recipe.recordings("dev"))


def _w2v_bert(part: str, recipe: Recipe) -> TrainingTask:
    optimiser = OptimiserConfig(steps=recipe.total_steps(part), learning_rate=1.5e-3, weight_decay=0.02)
    training = W2vBertTraining(optimiser=optimiser, seed=recipe.seed)
    waves = {split: [item.samples for item in recipe.recordings(split)] for split in ("train", "dev")}
    return W2vBertTask(waves["train"], waves["dev"], training=training)


def _stage(part: str, recipe: Recipe) -> TrainingTask:
    kind = part.removeprefix("stage-")
    rows, n_semantic = _tokens(recipe)
    optimiser = OptimiserConfig(steps=recipe.total_steps(part))
    training = StageTraining(optimiser=optimiser, batch=STAGE_BATCH[kind], seed=recipe.seed)
    return StageTask(rows["train"], rows["dev"], nano_stage(kind, n_semantic=n_semantic), training)


def _parallel(part: str, recipe: Recipe) -> TrainingTask:
    rows, n_semantic = _tokens(recipe)
    training = ParallelTraining(optimiser=OptimiserConfig(steps=recipe.total_steps(part)), seed=recipe.seed)
    return ParallelTask(rows["train"], rows["dev"], nano_parallel(n_semantic=n_semantic), training)


def _tokens(recipe: Recipe) -> tuple[dict[str, list[TokenisedUtterance]], int]:
    """Tokens of both splits, and how many semantic ones there are."""
    codec, semantic = recipe.export("codec"), recipe.export("semantic")
    cache = recipe.out / "tokens"
    rows = {split: tokenised(recipe.recordings(split), codec, semantic, cache) for split in ("train", "dev")}
    return rows, W2vBertTokenizer.load(semantic).n_tokens


def _fit_semantic(recipe: Recipe) -> dict[str, Any]:
    speech = [item.samples for item in recipe.recordings("train")]
    record = {"recordings": len(speech)}
    fit_kmeans(
        recipe.export("w2v-bert"),
        speech,
        recipe.export("semantic"),
        n_clusters=N_SEMANTIC,
        seed=recipe.seed,
        record=record,
    )
    return record


def _assemble(recipe: Recipe) -> dict[str, Any]:
    digests = {}
    optional = [name for name in OPTIONAL_PARTS if recipe.export(name.replace("_", "-")).is_dir()]
    for name in (*MODEL_PARTS, *optional):
        source = recipe.export(name.replace("_", "-"))
        digests[name] = part_digest(source, name)
        target = recipe.out / "model" / name
        if target.exists():
            shutil.rmtree(target)
        shutil.copytree(source, target)
    return {"digests": digests}
