"""AudioLM as users meet it: load a folder, hand in clips, get clips."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from audiolm import checkpoint, generate
from audiolm.energy import training_summary
from audiolm.generation_defaults import read_generation_defaults, write_generation_defaults
from audiolm.interchange import (
    check_fit,
    find_folder,
    load_parts,
    on_device,
    parameter_count,
    part_modules,
    save_parts,
    stages_of,
)
from audiolm.model_card import model_card
from audiolm.pipeline import Parts, decoders_of
from audiolm.precision import Precision, check_precision
from audiolm.runtime import resolve_device
from audiolm.sampling import Decoder, SamplingOptions
from audiolm.whole_files import write_whole

__all__ = ["AudioLM"]

SAMPLE_RATE_HZ = 16_000
MAX_CLIP_S = 600.0
"""Longest clip taken at once; a longer recording is cut by the caller."""
MAX_SECONDS = 24 * 3600.0
"""Longest clip made at once."""


class AudioLM:
    """Codec, semantic tokenizer and three stages. Clips are float32 ``[time]`` at 16 kHz within +-1, of any length.

    The same clip, seed and options give the same samples, whatever else is in the batch (up to the rounding of
    matrix products, which may differ with the batch's size).

    ``decoder`` says who draws the acoustic codes: ``autoregressive``, the paper's coarse and fine stage, ``parallel``,
    masked decoding (SoundStorm), or ``delayed``, a frame per step (MusicGen), where the model has that part; None
    takes the options' own. ``until_end``: a clip ends where the
    semantic stage draws its end of sequence, at the latest after the seconds asked for.
    """

    sample_rate_hz = SAMPLE_RATE_HZ

    def __init__(self, parts: Parts, *, name: str = "unsaved", digests: Mapping[str, str] | None = None) -> None:
        """``digests``: SHA-256 of each part's weights file; empty for a model that was never saved.

        Raises:
            CheckpointError: the parts do not fit each other.
        """
        check_fit(parts)
        self.parts = parts
        self.name = name
        self.digests = dict(digests or {})
        self.training: dict[str, Any] = {}
        """Time, energy and hardware of its making, as its parts recorded them."""
        self.options = SamplingOptions()
        """How it is sampled where a call does not say; of a saved model, what its ``generation.json`` says."""

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path = "nano",
        *,
        device: str = "cpu",
        precision: Precision = "float32",
        revision: str | None = None,
    ) -> AudioLM:
        """Load a shipped preset (``"nano"``), a folder that :meth:`save_pretrained` wrote, or a hub id.

        ``revision``: of a hub id ``owner/name`` (extra ``hub``): branch, tag or commit; ``owner/name@revision`` says
        the same. ``device``: ``cpu``, ``cuda`` or ``auto``. ``precision``: of the three stages' weights; ``bfloat16``
        or ``int8`` decode faster where the processor gains from them, and such a model is for generation only.

        Raises:
            CheckpointError: no such model, or a part that is missing, foreign, truncated, changed or does not fit.
            ValueError: a device that is not there, or a precision it has no arithmetic for.
        """
        place = resolve_device(device)
        check_precision(precision, place)
        folder, name = find_folder(source, revision)
        parts, digests = load_parts(folder)
        moved = on_device(parts, place)
        if precision != "float32":
            for kind in stages_of(moved):
                getattr(moved, kind).compress(precision)
        model = cls(moved, name=name, digests=digests)
        model.training = training_summary(folder, digests)
        model.options = read_generation_defaults(folder)
        return model

    def save_pretrained(self, folder: str | Path, record: Mapping[str, Any] | None = None) -> None:
        """Write all parts below ``folder``, half precision, its sampling options and a model card (``README.md``).

        ``record`` (JSON values) goes into each part's ``config.json`` and into the card.
        """
        folder = Path(folder)
        self.digests = save_parts(self.parts, folder, record or {})
        write_generation_defaults(folder, self.options)
        self.name = folder.resolve().name
        write_whole(folder / "README.md", model_card(self.describe(), record or {}))

    @property
    def decoders(self) -> tuple[Decoder, ...]:
        """What this model can draw acoustic codes with."""
        return decoders_of(self.parts)

    def describe(self) -> dict[str, Any]:
        """What a run record needs: name, digests, parameter counts, configuration and default options."""
        counts = {name: parameter_count(part) for name, part in part_modules(self.parts).items()}
        text = json.dumps(self.digests, sort_keys=True)
        stages = [*stages_of(self.parts), *self.decoders[1:]]
        return {
            "name": self.name,
            "sample_rate_hz": self.sample_rate_hz,
            "digest": hashlib.sha256(text.encode()).hexdigest() if self.digests else None,
            "parts": {
                name: {"weights_sha256": self.digests.get(name), "parameters": count} for name, count in counts.items()
            },
            "parameters": sum(counts.values()),
            "stages": {kind: checkpoint.config_to_dict(getattr(self.parts, kind).config) for kind in stages},
            "decoders": list(self.decoders),
            "options": asdict(self.options),
            "precision": self.parts.coarse.precision,
            "training": self.training,
        }

    def resynthesise(self, clips: Sequence[np.ndarray], levels: int | None = None) -> list[np.ndarray]:
        """Each clip through the codec alone, at its first ``levels`` (None: all that the stages use); same lengths."""
        if levels is not None and not 1 <= levels <= self.parts.levels:
            raise ValueError(f"levels is {levels}; this model uses 1 to {self.parts.levels}")
        return generate.resynthesise(self.parts, _checked(clips), levels or self.parts.levels)

    def acoustic_generation(
        self,
        clips: Sequence[np.ndarray],
        seeds: Sequence[int],
        options: SamplingOptions | None = None,
        *,
        decoder: Decoder | None = None,
    ) -> list[np.ndarray]:
        """Each clip's own semantic tokens with drawn acoustics; same lengths."""
        clips, numbers = _checked(clips), _seeds(seeds, len(clips))
        chosen = options or self.options
        return generate.acoustic_generation(self.parts, clips, numbers, chosen, decoder or chosen.decoder)

    def continuation(
        self,
        prompts: Sequence[np.ndarray],
        seconds: float,
        seeds: Sequence[int],
        options: SamplingOptions | None = None,
        *,
        decoder: Decoder | None = None,
        until_end: bool = False,
    ) -> list[np.ndarray]:
        """What follows each prompt, without it: exactly ``seconds``, or at most so long with ``until_end``.

        Of a prompt, the last 30 s are heard.
        """
        prompts, numbers = _checked(prompts), _seeds(seeds, len(prompts))
        chosen = options or self.options
        return generate.continuation(
            self.parts, prompts, _samples(seconds), numbers, chosen, decoder or chosen.decoder, until_end
        )

    def unconditional(
        self,
        count: int,
        seconds: float,
        seeds: Sequence[int],
        options: SamplingOptions | None = None,
        *,
        decoder: Decoder | None = None,
        until_end: bool = False,
    ) -> list[np.ndarray]:
        """``count`` clips from nothing: exactly ``seconds`` long, or at most so long with ``until_end``."""
        numbers, chosen = _seeds(seeds, count), options or self.options
        return generate.unconditional(
            self.parts, _samples(seconds), numbers, chosen, decoder or chosen.decoder, until_end
        )

    def stream(
        self,
        prompt: np.ndarray | None,
        seconds: float,
        seed: int,
        options: SamplingOptions | None = None,
        *,
        decoder: Decoder | None = None,
        until_end: bool = False,
    ) -> Iterator[np.ndarray]:
        """The clip of :meth:`continuation` (or, without ``prompt``, :meth:`unconditional`) in pieces as they get ready.

        Float32 pieces ``[time]``; a piece is a block of the fine stage or a window of another decoder, less what
        the codec looks ahead. The tokens are drawn from the same random streams in the same windows as the whole clip,
        so the pieces joined are that clip, up to the rounding of matrix products of other shapes.
        """
        checked = _checked([prompt])[0] if prompt is not None else None
        samples, chosen = _samples(seconds), options or self.options
        drawer = decoder or chosen.decoder
        if drawer not in self.decoders:
            raise ValueError(f"decoder is {drawer!r}; this model has {', '.join(self.decoders)}")
        return generate.stream(self.parts, checked, samples, int(seed), chosen, drawer, until_end)


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
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"seconds is {seconds}; use above 0 and up to {MAX_SECONDS:.0f}")
    return max(1, round(seconds * SAMPLE_RATE_HZ))
