"""DAC and EnCodec of ``transformers`` (extra ``codecs``) in the place of SoundStream.

DAC at 16 kHz has AudioLM's own token grid (50 frames of 12 levels of 1024 codes); EnCodec has 75 frames at 24 kHz.
Neither is causal as a whole, so they do not stream. A part folder holds their settings and weights like any other
part, so that a model trained on their codes is complete without a network.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from audiolm import checkpoint
from audiolm.checkpoint import CheckpointError
from audiolm.codec.protocol import FOREIGN_PART

__all__ = ["ForeignCodec", "load_foreign"]

KINDS = {"dac": ("DacConfig", "DacModel"), "encodec": ("EncodecConfig", "EncodecModel")}


class ForeignCodec(nn.Module):
    """A ``DacModel`` or mono ``EncodecModel`` with the members of ``AcousticTokenizer``."""

    def __init__(self, model: nn.Module) -> None:
        """
        Raises:
            ValueError: another kind of model, or one whose codes do not stand for themselves (stereo, normalised or
                chunked EnCodec: a scale per chunk travels beside its codes).
        """
        super().__init__()
        settings: Any = getattr(model, "config", None)
        self.kind = str(getattr(settings, "model_type", type(model).__name__))
        if self.kind not in KINDS:
            raise ValueError(f"model is {self.kind!r}; give one of {', '.join(name for _, name in KINDS.values())}")
        if self.kind == "encodec" and (settings.audio_channels != 1 or settings.normalize or settings.chunk_length_s):
            raise ValueError("this EnCodec is stereo, normalised or chunked; use the 24 kHz mono model")
        self.model = model.eval().requires_grad_(False)
        self.settings = settings
        self.record: Mapping[str, object] = {}

    @classmethod
    def from_transformers(cls, source: str | Path) -> ForeignCodec:
        """A folder that ``save_pretrained`` of transformers wrote, or a hub id (``descript/dac_16khz``) when online.

        Raises:
            ValueError: transformers is not installed, or there is no such model.
        """
        library = _transformers()
        try:
            settings = library.AutoConfig.from_pretrained(source)
            if settings.model_type not in KINDS:
                raise ValueError(f"{source}: holds {settings.model_type!r}; give a DAC or an EnCodec")
            model = getattr(library, KINDS[settings.model_type][1]).from_pretrained(source, use_safetensors=True)
        except OSError as error:
            raise ValueError(f"{source}: no such codec here and none fetched; give a folder, or go online") from error
        return cls(model)

    @property
    def sample_rate_hz(self) -> int:
        return int(self.settings.sampling_rate)

    @property
    def hop(self) -> int:
        return int(self.settings.hop_length)

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.hop

    @property
    def n_levels(self) -> int:
        return int(self.settings.n_codebooks if self.kind == "dac" else self.settings.num_quantizers)

    @property
    def codebook_size(self) -> int:
        return int(self.settings.codebook_size)

    @torch.inference_mode()
    def encode(self, samples: Tensor, n_levels: int | None = None) -> Tensor:
        """Float32 ``[batch, time]`` to int64 codes ``[batch, level, ceil(time / hop)]`` of the first levels.

        Raises:
            ValueError: no samples, another shape, or levels that the codec does not have.
        """
        if samples.ndim != 2 or samples.shape[1] == 0:
            raise ValueError(f"waveform has shape {tuple(samples.shape)}; give [batch, time] with at least one sample")
        levels = self.n_levels if n_levels is None else n_levels
        if not 1 <= levels <= self.n_levels:
            raise ValueError(f"n_levels is {n_levels}; the codec has 1 to {self.n_levels}")
        frames = -(-samples.shape[1] // self.hop)
        padded = F.pad(samples, (0, frames * self.hop - samples.shape[1])).unsqueeze(1)
        model: Any = self.model
        if self.kind == "dac":
            codes = model.encode(padded).audio_codes
        else:
            codes = model.encode(padded, bandwidth=self.settings.target_bandwidths[-1]).audio_codes[0]
        return codes[:, :levels, :frames].long().contiguous()

    @torch.inference_mode()
    def decode(self, codes: Tensor) -> Tensor:
        """Codes ``[batch, level, frame]`` of the first levels to ``[batch, frame * hop]``.

        Raises:
            ValueError: too many levels, no frames, or a code outside the codebook.
        """
        if codes.ndim != 3 or not 1 <= codes.shape[1] <= self.n_levels or codes.shape[2] == 0:
            raise ValueError(
                f"codes have shape {tuple(codes.shape)}; give [batch, level, frame] with 1 to {self.n_levels} levels"
            )
        if int(codes.min()) < 0 or int(codes.max()) >= self.codebook_size:
            raise ValueError(
                f"codes must lie in [0, {self.codebook_size}); found {int(codes.min())} to {int(codes.max())}"
            )
        model: Any = self.model
        if self.kind == "dac":
            samples = model.decode(audio_codes=codes).audio_values
        else:
            samples = model.decode(codes.unsqueeze(0), [None]).audio_values.squeeze(1)
        # DAC's odd strides lose a few samples, all at the end: its encoder leans as far as its decoder
        length = codes.shape[2] * self.hop
        return F.pad(samples, (0, max(0, length - samples.shape[1])))[:, :length]

    def save(self, folder: str | Path, record: Mapping[str, Any]) -> None:
        """Write settings and weights, in full precision: rounded weights would change codes."""
        checkpoint.save_part(
            folder,
            part=FOREIGN_PART,
            config={"kind": self.kind, "settings": self.settings.to_dict()},
            state_dict=self.model.state_dict(),
            record=record,
            half=False,
        )


def load_foreign(folder: str | Path) -> ForeignCodec:
    """Read back what :meth:`ForeignCodec.save` wrote.

    Raises:
        CheckpointError: not ours, truncated, changed, or of another shape.
        ValueError: transformers is not installed.
    """
    config, state, record = checkpoint.load_part(Path(folder), FOREIGN_PART)
    kind, settings = config.get("kind"), config.get("settings")
    if kind not in KINDS or not isinstance(settings, dict):
        raise CheckpointError(f"{folder}: codec kind is {kind!r}; use one of {', '.join(KINDS)}")
    library = _transformers()
    config_class, model_class = (getattr(library, name) for name in KINDS[kind])
    codec = ForeignCodec(checkpoint.build(lambda: model_class(config_class.from_dict(settings)), state, folder))
    codec.record = record
    return codec


def _transformers() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise ValueError(
            "a foreign codec needs transformers, which is not installed; pip install 'audiolm-audit[codecs]'"
        ) from error
