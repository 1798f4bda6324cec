"""How a model is made: its parts in order, each read from the folder that the part before it wrote.

A part's folder holds its logs and state, ``training.json`` once it is finished, and ``export/``, what later parts read.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from audiolm.checkpoint import config_from_dict, config_to_dict, part_digest, stored_part
from audiolm.codebook_start import (
    start_delayed_from_codebooks,
    start_from_centroids,
    start_parallel_from_codebooks,
    start_stage_from_codebooks,
)
from audiolm.codec.soundstream import PART as CODEC_PART
from audiolm.codec.soundstream import SoundStream
from audiolm.dataset import Recording, check_disjoint, read_recordings
from audiolm.delayed import DelayedConfig, DelayedStage
from audiolm.edge_silence import without_edge_silence
from audiolm.parallel import ParallelConfig, ParallelStage
from audiolm.presets import Preset, load_preset
from audiolm.runtime import Runtime
from audiolm.semantic.tokenizer import load_tokenizer
from audiolm.speed_variants import at_speeds
from audiolm.stages import Stage, StageConfig
from audiolm.token_cache import tokenised
from audiolm.train_codec import CodecTask
from audiolm.train_delayed import DelayedTask
from audiolm.train_parallel import ParallelTask
from audiolm.train_semantic import W2vBertTask, fit_kmeans
from audiolm.train_stages import StageTask, TokenisedUtterance
from audiolm.training import LoopConfig, TrainingTask, train
from audiolm.whole_files import write_whole

__all__ = ["PARTS", "TOKENS", "Recipe", "finished", "read_recipe", "train_part"]

logger = logging.getLogger(__name__)

PARTS = (
    "codec",
    "w2v-bert",
    "semantic",
    "stage-semantic",
    "stage-coarse",
    "stage-fine",
    "stage-parallel",
    "stage-delayed",
    "model",
)
TOKENS = "tokens"
"""The stages' token cache alone, which the first stage would fill otherwise: for a job of many processes."""
RECIPE_KEYS = (
    "preset",
    "seed",
    "max_seconds_per_speaker",
    "edge_silence_s",
    "speeds",
    "semantic_bundle",
    "bundle_layer",
    "shares",
)
BUNDLE_LAYER = 9
WARM_STEPS, TIMED_STEPS = 2, 8
"""Steps of a throw-away task by which a time budget is turned into a number of steps."""
KMEANS_HOURS = 20.0
"""Of speech whose features are clustered: 1.8 million frames, 7 GB at the width of w2v-BERT XL."""
KMEANS = 1_000_000_009
"""Stream of the draw of these hours, apart from every step's."""
SAFETY = 0.92
"""Share of a part's budget that its steps may take; validation, saving and reading need the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One training: where the data is, where the parts go, which sizes, how long each part may take.

    ``steps`` replaces every part's own number; ``minutes`` stops a part early; ``budget_minutes``: of all parts
    together, turned into steps by measurement, so that every schedule runs to its end. ``edge_silence_s``: longest
    silence at either end of a training recording that the stages hear (None: all of it); ``speeds``: at which they
    hear every one. ``overrides``: tables of a recipe file by part, fields of the part's training
    configuration.
    """

    data: Path
    out: Path
    preset: Preset = field(default_factory=lambda: load_preset("nano"))
    runtime: Runtime = field(default_factory=Runtime)
    steps: int | None = None
    minutes: float | None = None
    budget_minutes: float | None = None
    resume: bool = False
    seed: int = 0
    max_seconds_per_speaker: float | None = 300.0
    edge_silence_s: float | None = None
    speeds: Sequence[float] = (1.0,)
    log_every: int = 20
    validate_every: int = 500
    save_every: int = 500
    semantic_bundle: str | None = None
    bundle_layer: int = BUNDLE_LAYER
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def recordings(self, split: str) -> list[Recording]:
        """Recordings of a split; the cap on speakers holds for training alone."""
        cap = self.max_seconds_per_speaker if split == "train" else None
        rate = self.preset.codec.sample_rate_hz
        return read_recordings(
            self.data, split=split, sample_rate_hz=rate, kind=self.preset.kind, max_seconds_per_speaker=cap
        )

    def splits(self) -> tuple[list[Recording], list[Recording]]:
        """Training and held-out recordings, of different speakers."""
        training, held_out = self.recordings("train"), self.recordings("dev")
        check_disjoint(training, held_out)
        return training, held_out

    def export(self, part: str) -> Path:
        """Where the finished part lies."""
        return self.out / part / "export"

    def training_of(self, part: str, default: Any, steps: int | None = None) -> Any:
        """The part's training configuration: the preset's, then the recipe file's, then the number of steps."""
        merged = _merged(config_to_dict(default), self.overrides.get(part, {}))
        config = config_from_dict(type(default), merged)
        optimiser = replace(config.optimiser, steps=steps or self.steps or config.optimiser.steps)
        if optimiser.warmup_steps > optimiser.steps // 4:
            optimiser = replace(optimiser, warmup_steps=max(1, optimiser.steps // 4))
        config = replace(config, optimiser=optimiser, seed=self.seed)
        if hasattr(config, "quantize_from") and config.quantize_from > optimiser.steps // 4:
            config = replace(config, quantize_from=optimiser.steps // 4)
        return config


Maker = Callable[[str, Recipe, "int | None"], TrainingTask]


def train_part(part: str, recipe: Recipe) -> dict[str, Any]:
    """Make one part; returns its training record.

    Raises:
        ValueError: unknown part, a part it rests on is missing, or its folder is in use without ``resume``.
    """
    special = {"semantic": _fit_semantic, "model": _assemble, TOKENS: _fill_tokens}
    if part in special:
        return special[part](recipe)
    makers: dict[str, Maker] = {
        "codec": _codec,
        "w2v-bert": _w2v_bert,
        "stage-parallel": _parallel,
        "stage-delayed": _delayed,
        **{f"stage-{kind}": _stage for kind in recipe.preset.stages},
    }
    if part not in makers or part not in recipe.preset.parts:
        raise ValueError(f"there is no part {part!r}; use one of {', '.join(recipe.preset.parts)}")
    steps = _planned_steps(part, recipe, makers[part])
    task = makers[part](part, recipe, steps)
    loop = LoopConfig(
        steps=task.optimiser.config.steps,  # type: ignore[attr-defined]
        minutes=recipe.minutes,
        log_every=recipe.log_every,
        validate_every=recipe.validate_every,
        save_every=recipe.save_every,
    )
    return train(task, recipe.out / part, loop, resume=recipe.resume, runtime=recipe.runtime)


def finished(part: str, recipe: Recipe) -> bool:
    """Whether an earlier run brought the part to its end (the model is always put together again)."""
    path = recipe.out / part / "training.json"
    return part != "model" and path.is_file() and bool(json.loads(path.read_text(encoding="utf-8"))["finished"])


def read_recipe(path: Path) -> dict[str, Any]:
    """A recipe file as :class:`Recipe` fields: ``preset``, ``seed`` and so on, and one table per part.

    Raises:
        ValueError: missing, not TOML, or a key that no recipe has.
    """
    try:
        import tomllib  # type: ignore[import-not-found]
    except ImportError:
        import tomli as tomllib  # type: ignore[no-redef]
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as a recipe ({error})") from error
    unknown = sorted(document.keys() - {*RECIPE_KEYS, *PARTS})
    if unknown:
        raise ValueError(f"{path}: unknown key {unknown[0]!r}; use {', '.join((*RECIPE_KEYS, *PARTS))}")
    preset = load_preset(document.pop("preset", "nano"))
    if "shares" in document:
        preset = replace(preset, shares=document.pop("shares"))
    overrides = {part: document.pop(part) for part in PARTS if part in document}
    return {"preset": preset, "overrides": overrides, **document}


def _planned_steps(part: str, recipe: Recipe, maker: Maker) -> int | None:
    """Steps that fill the part's share of the time budget; kept in ``plan.json``, so that a resumed run agrees."""
    if recipe.budget_minutes is None:
        return None
    path = recipe.out / part / "plan.json"
    if not path.exists():
        task = maker(part, recipe, 1_000_000)
        first = getattr(task.config, "quantize_from", 0)  # type: ignore[attr-defined]
        for step in range(WARM_STEPS):
            task.training_step(first + step)
        started = time.monotonic()
        for step in range(TIMED_STEPS):
            task.training_step(first + WARM_STEPS + step)
        step_s = (time.monotonic() - started) / TIMED_STEPS
        shares = recipe.preset.shares
        budget_s = 60 * recipe.budget_minutes * shares[part] / sum(shares.values())
        steps = max(1, int(SAFETY * budget_s / step_s))
        steps = int(recipe.runtime.totals({"steps": steps if recipe.runtime.is_main else 0.0})["steps"])
        if recipe.runtime.is_main:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps({"steps": steps, "step_s": step_s, "budget_s": budget_s}))
        recipe.runtime.barrier()
    return int(json.loads(path.read_text(encoding="utf-8"))["steps"])


def _codec(part: str, recipe: Recipe, steps: int | None) -> TrainingTask:
    training = recipe.training_of(part, recipe.preset.codec_training, steps)
    return CodecTask(recipe.preset.codec, training, *recipe.splits(), runtime=recipe.runtime)


def _w2v_bert(part: str, recipe: Recipe, steps: int | None) -> TrainingTask:
    training = recipe.training_of(part, recipe.preset.w2v_bert_training, steps)
    heard, held_out = ([item.samples for item in split] for split in recipe.splits())
    return W2vBertTask(heard, held_out, recipe.preset.w2v_bert, training, recipe.runtime)


def _stage(part: str, recipe: Recipe, steps: int | None) -> TrainingTask:
    kind = part.removeprefix("stage-")
    training = recipe.training_of(part, recipe.preset.stage_training[kind], steps)
    start = _start(recipe, None if kind == "semantic" else start_stage_from_codebooks)
    heard, held_out = _tokens(recipe)
    return StageTask(heard, held_out, _fitted(recipe, kind), training, recipe.runtime, start)


def _parallel(part: str, recipe: Recipe, steps: int | None) -> TrainingTask:
    training = recipe.training_of(part, recipe.preset.parallel_training, steps)
    config = _for_tokens(recipe.preset.parallel, part, recipe)
    start = _start(recipe, lambda stage, codebooks, _: start_parallel_from_codebooks(stage, codebooks))
    heard, held_out = _tokens(recipe)
    return ParallelTask(heard, held_out, config, training, recipe.runtime, start)


def _delayed(part: str, recipe: Recipe, steps: int | None) -> TrainingTask:
    training = recipe.training_of(part, recipe.preset.delayed_training, steps)
    config = _for_tokens(recipe.preset.delayed, part, recipe)
    heard, held_out = _tokens(recipe)
    start = _start(recipe, start_delayed_from_codebooks)
    return DelayedTask(heard, held_out, config, training, recipe.runtime, start)


def _start(
    recipe: Recipe, from_codebooks: Callable[[Any, Tensor, torch.Generator], None] | None
) -> Callable[[Stage | ParallelStage | DelayedStage], None]:
    """First weights: codes from the codec's codebooks (where it is ours), semantic tokens from their centroids."""
    codebooks = _codebooks(recipe) if from_codebooks else None
    centroids = load_tokenizer(recipe.export("semantic")).clusters.centroids

    def start(model: Stage | ParallelStage | DelayedStage) -> None:
        generator = torch.Generator().manual_seed(recipe.seed)
        if from_codebooks and codebooks is not None:
            from_codebooks(model, codebooks, generator)
        start_from_centroids(model, centroids, generator)

    return start


OtherConfig = TypeVar("OtherConfig", ParallelConfig, DelayedConfig)


def _for_tokens(config: OtherConfig | None, part: str, recipe: Recipe) -> OtherConfig:
    """The preset's other decoder, for as many semantic tokens as the tokenizer has."""
    if config is None:
        raise ValueError(f"preset {recipe.preset.name!r} has no {part}; train another part")
    return replace(config, n_semantic=load_tokenizer(recipe.export("semantic")).n_tokens)


def _codebooks(recipe: Recipe) -> Tensor | None:
    """Codebooks ``[level, code, latent]`` that stages start from; None for a foreign codec."""
    if stored_part(recipe.export("codec")) != CODEC_PART:
        return None
    return SoundStream.load(recipe.export("codec")).quantizer.codebooks


def _tokens(recipe: Recipe) -> list[list[TokenisedUtterance]]:
    """Cached tokens of both splits."""
    codec, semantic = recipe.export("codec"), recipe.export("semantic")
    training, held_out = recipe.splits()
    if recipe.edge_silence_s is not None:
        rate = recipe.preset.codec.sample_rate_hz
        training = without_edge_silence(training, recipe.edge_silence_s, rate)
    splits = at_speeds(training, recipe.speeds), held_out
    return [tokenised(split, codec, semantic, recipe.out / "tokens", recipe.runtime) for split in splits]


def _fitted(recipe: Recipe, kind: str) -> StageConfig:
    """The preset's stage, for as many semantic tokens as the tokenizer has."""
    config = recipe.preset.stages[kind]
    n_semantic = load_tokenizer(recipe.export("semantic")).n_tokens
    return replace(config, layout=replace(config.layout, n_semantic=n_semantic))


def _fit_semantic(recipe: Recipe) -> dict[str, Any]:
    record: dict[str, Any] = {"finished": True}
    if recipe.runtime.is_main:
        speech = _spread([item.samples for item in recipe.recordings("train")], recipe)
        record["recordings"] = len(speech)
        if recipe.semantic_bundle:
            _fit_bundle(recipe, speech, record)
        else:
            fit_kmeans(
                recipe.export("w2v-bert"),
                speech,
                recipe.export("semantic"),
                n_clusters=recipe.preset.n_semantic,
                tap_layer=recipe.preset.tap_layer,
                seed=recipe.seed,
                record=record,
                device=recipe.runtime.device,
            )
        write_whole(recipe.out / "semantic" / "training.json", json.dumps(record) + "\n")
    recipe.runtime.barrier()
    return record


def _spread(speech: list[Any], recipe: Recipe) -> list[Any]:
    """All of it, or some twenty hours drawn from the whole: features of more would not fit into memory."""
    lengths = np.array([len(item) for item in speech], dtype=np.int64)
    order = np.random.default_rng([recipe.seed, KMEANS]).permutation(len(speech))
    needed = 1 + int(lengths[order].cumsum().searchsorted(KMEANS_HOURS * 3600 * recipe.preset.codec.sample_rate_hz))
    return [speech[index] for index in sorted(order[:needed])]


def _fit_bundle(recipe: Recipe, speech: list[Any], record: Mapping[str, Any]) -> None:
    """Clusters over a torchaudio bundle in place of our w2v-BERT; its weights are fetched where they are not cached."""
    from audiolm.semantic.bundles import BundleTokenizer, BundleTokenizerConfig, load_bundle

    config = BundleTokenizerConfig(
        bundle=str(recipe.semantic_bundle), layer=recipe.bundle_layer, n_tokens=recipe.preset.n_semantic
    )
    waves = [wave[:] for wave in speech]
    BundleTokenizer.fit(config, load_bundle(config.bundle), waves, seed=recipe.seed).save(
        recipe.export("semantic"), record
    )


def _fill_tokens(recipe: Recipe) -> dict[str, Any]:
    """Tokens of both splits, each process its share of the shards."""
    training, held_out = _tokens(recipe)
    return {"recordings": len(training) + len(held_out), "finished": True}


def _assemble(recipe: Recipe) -> dict[str, Any]:
    """Put the parts side by side in ``model/``, ready for ``from_pretrained``."""
    digests = {}
    names = ["codec", "semantic", *(f"stage-{kind}" for kind in recipe.preset.stages)]
    names += [name for name in ("stage-parallel", "stage-delayed") if recipe.export(name).is_dir()]
    if recipe.runtime.is_main:
        for name in names:
            source, folder = recipe.export(name), name.replace("-", "_")
            digests[folder] = part_digest(source, stored_part(source))
            target, staged = recipe.out / "model" / folder, recipe.out / "model" / f".{folder}"
            for leftover in (staged, target):
                if leftover.exists():
                    shutil.rmtree(leftover)
            shutil.copytree(source, staged)
            staged.rename(target)
    recipe.runtime.barrier()
    return {"digests": digests, "finished": True}


def _merged(base: Mapping[str, Any], table: Mapping[str, Any]) -> dict[str, Any]:
    """``table`` over ``base``, nested tables key by key."""
    merged = dict(base)
    for key, value in table.items():
        inside = merged.get(key)
        both = isinstance(inside, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(inside, value) if both else value  # type: ignore[arg-type]
    return merged
