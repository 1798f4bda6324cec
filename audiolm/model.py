"""AudioLM as users meet it: load a folder, hand in clips, get clips."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from audiolm import checkpoint, generate
from audiolm.checkpoint import CheckpointError
from audiolm.codec.soundstream import SoundStream
from audiolm.generate import Parts
from audiolm.sampling import SamplingOptions
from audiolm.semantic.tokenizer import load_tokenizer
from audiolm.stages import Stage

__all__ = ["AudioLM"]

SAMPLE_RATE_HZ = 16_000
MAX_CLIP_S = 600.0
"""Longest clip taken at once; a longer recording is cut by the caller."""
PRESETS = ("nano",)
FOLDERS = ("codec", "semantic", "stage_semantic", "stage_coarse", "stage_fine")
STAGES = ("semantic", "coarse", "fine")


class AudioLM:
    """Codec, semantic tokenizer and three stages. Clips are float32 ``[time]`` at 16 kHz within +-1, of any length.

    The same clip, seed and options give the same samples, whatever else is in the batch (up to the rounding of
    matrix products, which may differ with the batch's size).
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, parts: Parts, *, name: str = "unsaved", digests: Mapping[str, str] | None = None) -> None:
        """``digests``: SHA-256 of each part's weights file; empty for a model that was never saved.

        Raises:
            CheckpointError: the parts do not fit each other.
        """
        _check_fit(parts)
        self.parts = parts
        self.name = name
        self.digests = dict(digests or {})

    @classmethod
    def from_pretrained(cls, source: str | Path = "nano", *, device: str = "cpu") -> AudioLM:
        """Load a shipped preset (``"nano"``) or a folder that :meth:`save_pretrained` wrote.

        Raises:
            CheckpointError: no such folder, or a part that is missing, foreign, truncated, changed or does not fit.
        """
        shipped = Path(str(resources.files("audiolm"))) / "pretrained"
        folder = shipped / str(source) if source in PRESETS else Path(source)
        if not folder.is_dir():
            raise CheckpointError(
                f"{source}: no such model folder; give {', '.join(PRESETS)} or a folder with {', '.join(FOLDERS)}"
            )
        codec = SoundStream.load(folder / "codec")
        tokenizer = load_tokenizer(folder / "semantic")
        stages = [Stage.load(folder / f"stage_{kind}", kind) for kind in STAGES]
        digests = {part: checkpoint.weights_digest(folder / part) for part in FOLDERS}
        name = str(source) if source in PRESETS else folder.resolve().name
        semantic, coarse, fine = (stage.to(device) for stage in stages)
        parts = Parts(codec.to(device), tokenizer.to(device), semantic, coarse, fine)
        return cls(parts, name=name, digests=digests)

    def save_pretrained(self, folder: str | Path, record: Mapping[str, Any] | None = None) -> None:
        """Write all parts below ``folder``, half precision; ``record`` goes into each part's ``config.json``."""
        folder, note = Path(folder), dict(record or {})
        codec = self.parts.codec
        checkpoint.save_part(
            folder / "codec",
            part="codec",
            config=checkpoint.config_to_dict(codec.config),
            state_dict=codec.state_dict(),
            record=note,
        )
        self.parts.tokenizer.save(folder / "semantic", note)
        for kind in STAGES:
            getattr(self.parts, kind).save(folder / f"stage_{kind}", note)
        self.digests = {part: checkpoint.weights_digest(folder / part) for part in FOLDERS}

    def describe(self) -> dict[str, Any]:
        """What a run record needs: name, digests, parameter counts, configuration and default options."""
        modules = dict(zip(FOLDERS, self.parts, strict=True))
        text = json.dumps(self.digests, sort_keys=True)
        return {
            "name": self.name,
            "sample_rate_hz": self.sample_rate_hz,
            "digest": hashlib.sha256(text.encode()).hexdigest() if self.digests else None,
            "parts": {
                part: {"weights_sha256": self.digests.get(part), "parameters": _size(module)}
                for part, module in modules.items()
            },
            "parameters": sum(_size(module) for module in modules.values()),
            "stages": {kind: checkpoint.config_to_dict(getattr(self.parts, kind).config) for kind in STAGES},
            "options": asdict(SamplingOptions()),
        }

    def resynthesise(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Each clip through the codec alone; same lengths."""
        return generate.resynthesise(self.parts, _checked(clips))

    def acoustic_generation(
        self, clips: Sequence[np.ndarray], seeds: Sequence[int], options: SamplingOptions | None = None
    ) -> list[np.ndarray]:
        """Each clip's own semantic tokens with drawn acoustics; same lengths."""
        clips = _checked(clips)
        return generate.acoustic_generation(self.parts, clips, _seeds(seeds, len(clips)), options or SamplingOptions())

    def continuation(
        self,
        prompts: Sequence[np.ndarray],
        seconds: float,
        seeds: Sequence[int],
        options: SamplingOptions | None = None,
    ) -> list[np.ndarray]:
        """What follows each prompt: exactly ``seconds``, without the prompt."""
        prompts = _checked(prompts)
        chosen = options or SamplingOptions()
        return generate.continuation(self.parts, prompts, _samples(seconds), _seeds(seeds, len(prompts)), chosen)

    def unconditional(
        self, count: int, seconds: float, seeds: Sequence[int], options: SamplingOptions | None = None
    ) -> list[np.ndarray]:
        """``count`` clips of ``seconds`` from nothing."""
        return generate.unconditional(self.parts, _samples(seconds), _seeds(seeds, count), options or SamplingOptions())


def _check_fit(parts: Parts) -> None:
    codec = parts.codec.config
    layouts = [getattr(parts, kind).config.layout for kind in STAGES]
    for kind, layout in zip(STAGES, layouts, strict=True):
        if layout.kind != kind:
            raise CheckpointError(f"stage {kind}: its layout is {layout.kind!r}; give the {kind} stage")
        if layout.n_semantic != parts.tokenizer.n_tokens:
            raise CheckpointError(
                f"stage {kind}: made for {layout.n_semantic} semantic tokens, the tokenizer has"
                f" {parts.tokenizer.n_tokens}; use parts that were trained together"
            )
        if kind != "semantic" and layout.codebook_size != codec.codebook_size:
            raise CheckpointError(
                f"stage {kind}: made for codebooks of {layout.codebook_size}, the codec has {codec.codebook_size};"
                " use parts that were trained together"
            )
    if layouts[1].n_coarse != layouts[2].n_coarse or parts.levels > codec.n_levels:
        raise CheckpointError(
            f"stages use {layouts[1].n_coarse} coarse and {layouts[2].n_coarse} + {layouts[2].n_fine} levels, the codec"
            f" has {codec.n_levels}; use parts that were trained together"
        )
    if codec.hop != generate.HOP:
        raise CheckpointError(f"codec: one frame is {codec.hop} samples; the stages need {generate.HOP}")


def _checked(clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Float32 copies of the clips.

    Raises:
        ValueError: not ``[time]``, empty, not finite, or longer than ten minutes; the message says which clip.
    """
    checked = []
    for index, clip in enumerate(clips):
        array = np.asarray(clip)
        if array.ndim != 1 or not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"clip {index} is {array.dtype} of shape {array.shape}; give floats of shape [time]")
        if len(array) == 0:
            raise ValueError(f"clip {index} holds 0 samples; give a recording with sound in it")
        if len(array) > MAX_CLIP_S * SAMPLE_RATE_HZ:
            raise ValueError(
                f"clip {index} lasts {len(array) / SAMPLE_RATE_HZ:.0f} s at 16 kHz;"
                f" cut it to {MAX_CLIP_S:.0f} s or less"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"clip {index} holds NaN or infinite samples; export the recording again")
        checked.append(np.ascontiguousarray(array, dtype=np.float32))
    return checked


def _seeds(seeds: Sequence[int], count: int) -> list[int]:
    if count < 0 or len(seeds) != count:
        raise ValueError(f"{len(seeds)} seeds for {count} clips; give one seed per clip")
    return [int(seed) for seed in seeds]


def _samples(seconds: float) -> int:
    if not 0 < seconds <= MAX_CLIP_S:
        raise ValueError(f"seconds is {seconds}; use above 0 and up to {MAX_CLIP_S:.0f}")
    return max(1, round(seconds * SAMPLE_RATE_HZ))


def _size(module: object) -> int:
    return sum(weight.numel() for weight in module.parameters()) if isinstance(module, nn.Module) else 0
