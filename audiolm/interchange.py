"""Models as folders: one sub-folder per part, found by preset name, path or hub id; and whether parts fit together."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from torch import nn

from audiolm import checkpoint, hub
from audiolm.checkpoint import CheckpointError
from audiolm.codec.protocol import load_acoustic
from audiolm.delayed import DelayedStage
from audiolm.parallel import ParallelStage
from audiolm.pipeline import Parts
from audiolm.semantic.tokenizer import load_tokenizer
from audiolm.semantic.w2v_bert import FRAME_SAMPLES
from audiolm.stages import Stage
from audiolm.tokens import FRAMES_PER_SEMANTIC

__all__ = [
    "FOLDERS",
    "OTHER_DECODERS",
    "STAGES",
    "check_fit",
    "find_folder",
    "load_parts",
    "on_device",
    "parameter_count",
    "part_modules",
    "save_parts",
    "stages_of",
]

PRESETS = ("nano",)
FOLDERS = ("codec", "semantic", "stage_semantic", "stage_coarse", "stage_fine")
OTHER_DECODERS = ("stage_parallel", "stage_delayed")
"""There only where they were trained."""
STAGES = ("semantic", "coarse", "fine")
SAMPLE_RATE_HZ = 16_000
HOP = FRAME_SAMPLES // FRAMES_PER_SEMANTIC


def find_folder(source: str | Path, revision: str | None = None) -> tuple[Path, str]:
    """Folder and name of a shipped preset, a folder, or a hub id (fetched).

    Raises:
        CheckpointError: none of these, or the hub gives no such model.
    """
    text = str(source)
    if text in PRESETS:
        return Path(str(resources.files("audiolm"))) / "pretrained" / text, text
    folder = Path(source)
    if folder.is_dir():
        return folder, folder.resolve().name
    if isinstance(source, str) and hub.is_hub_id(text):
        return hub.fetch(text, revision), text
    raise CheckpointError(
        f"{source}: no such model folder; give {', '.join(PRESETS)}, a hub id owner/name,"
        f" or a folder with {', '.join(FOLDERS)}"
    )


def load_parts(folder: Path) -> tuple[Parts, dict[str, str]]:
    """All parts below ``folder``, on the CPU, and the SHA-256 of each part's weights file.

    Raises:
        CheckpointError: a part is missing, foreign, truncated or changed.
    """
    codec = load_acoustic(folder / "codec")
    tokenizer = load_tokenizer(folder / "semantic")
    semantic, coarse = (Stage.load(folder / f"stage_{kind}", kind) for kind in STAGES[:2])
    two_stages = coarse.config.layout.n_coarse == codec.n_levels and not (folder / "stage_fine").is_dir()
    fine = None if two_stages else Stage.load(folder / "stage_fine", "fine")
    there = [(folder / name).is_dir() for name in OTHER_DECODERS]
    parallel = ParallelStage.load(folder / OTHER_DECODERS[0]) if there[0] else None
    delayed = DelayedStage.load(folder / OTHER_DECODERS[1]) if there[1] else None
    parts = Parts(codec, tokenizer, semantic, coarse, fine, parallel, delayed)
    return parts, {name: checkpoint.weights_digest(folder / name) for name in part_modules(parts)}


def save_parts(parts: Parts, folder: Path, record: Mapping[str, Any]) -> dict[str, str]:
    """Write every part below ``folder``, half precision; gives the digests of the weights files."""
    note = dict(record)
    for name, part in part_modules(parts).items():
        part.save(folder / name, note)
    return {name: checkpoint.weights_digest(folder / name) for name in part_modules(parts)}


def on_device(parts: Parts, device: Any) -> Parts:
    """The parts, moved."""
    return Parts(
        codec=parts.codec.to(device),
        tokenizer=parts.tokenizer.to(device),
        semantic=parts.semantic.to(device),
        coarse=parts.coarse.to(device),
        fine=parts.fine.to(device) if parts.fine is not None else None,
        parallel=parts.parallel.to(device) if parts.parallel is not None else None,
        delayed=parts.delayed.to(device) if parts.delayed is not None else None,
    )


def part_modules(parts: Parts) -> dict[str, Any]:
    """Folder name to part, without what is not there."""
    names = (*FOLDERS, *OTHER_DECODERS)
    return {name: part for name, part in zip(names, parts, strict=True) if part is not None}


def stages_of(parts: Parts) -> tuple[str, ...]:
    """The stages there are: all three, or two where the coarse stage draws every level of the codec."""
    return STAGES if parts.fine is not None else STAGES[:2]


def parameter_count(part: object) -> int:
    """Trained numbers of a part, codebooks and centroids (buffers) not counted."""
    return sum(weight.numel() for weight in part.parameters()) if isinstance(part, nn.Module) else 0


def check_fit(parts: Parts) -> None:
    """Refuse parts that do not belong together.

    Raises:
        CheckpointError: vocabularies, levels, frame rates or kinds of stage differ; the message says which.
    """
    together = "use parts that were trained together"
    codec = parts.codec
    stages = stages_of(parts)
    layouts = [getattr(parts, kind).config.layout for kind in stages]
    for kind, layout in zip(stages, layouts, strict=True):
        if layout.kind != kind:
            raise CheckpointError(f"stage {kind}: its layout is {layout.kind!r}; give the {kind} stage")
    named = (("parallel", parts.parallel), ("delayed", parts.delayed))
    others = [(name, stage.config) for name, stage in named if stage is not None]
    models = [*zip(stages, layouts, strict=True), *others]
    for kind, layout in models:
        if layout.n_semantic != parts.tokenizer.n_tokens:
            raise CheckpointError(
                f"stage {kind}: made for {layout.n_semantic} semantic tokens, the tokenizer has"
                f" {parts.tokenizer.n_tokens}; {together}"
            )
        if kind != "semantic" and layout.codebook_size != codec.codebook_size:
            raise CheckpointError(
                f"stage {kind}: made for codebooks of {layout.codebook_size}, the codec has {codec.codebook_size};"
                f" {together}"
            )
    if layouts[1].n_coarse != layouts[-1].n_coarse or parts.levels > codec.n_levels:
        last = f" and {layouts[-1].n_coarse} + {layouts[-1].n_fine}" if parts.fine is not None else ""
        raise CheckpointError(
            f"stages use {layouts[1].n_coarse} coarse{last} levels, the codec has {codec.n_levels}; {together}"
        )
    for name, config in others:
        if config.n_levels != parts.levels:
            raise CheckpointError(
                f"stage {name}: models {config.n_levels} levels, the other stages {parts.levels}; {together}"
            )
    if codec.hop != HOP or codec.sample_rate_hz != SAMPLE_RATE_HZ:
        raise CheckpointError(
            f"codec: one frame is {codec.hop} samples at {codec.sample_rate_hz} Hz; the stages need {HOP} at"
            f" {SAMPLE_RATE_HZ}"
        )
