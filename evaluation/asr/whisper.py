"""Whisper (openai-whisper) with weights that are already on the machine; nothing is ever downloaded here.

Weights are looked for as ``<size>.pt`` in ``AUDIOLM_WHISPER_DIR``, else in ``~/.cache/whisper``. Decoding is greedy, in
English, at temperature 0 without fallback and without text carried from one window to the next: the fallback samples,
and carried text makes loops.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from audiolm.audio import AudioClip, AudioError

__all__ = ["Whisper"]

SAMPLE_RATE_HZ = 16_000
WINDOW_S = 30.0
BATCH = 8
"""Clips decoded together; part of the fingerprint, since it decides rounding."""
SIZE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Whisper:
    """One size of Whisper, e.g. ``Whisper("base.en")``."""

    def __init__(self, size: str) -> None:
        if not SIZE_NAME.fullmatch(size):
            raise ValueError(f"AUDIOLM_ASR: {size!r} is not a Whisper size; use e.g. whisper:base.en")
        self.name = f"whisper:{size}"
        self.size = size

    @property
    def weights(self) -> Path:
        """Where the weights of this size belong."""
        folder = os.environ.get("AUDIOLM_WHISPER_DIR")
        return (Path(folder) if folder else Path.home() / ".cache" / "whisper") / f"{self.size}.pt"

    def load(self, device: str):
        """Read the weights (tensors only, nothing in the file is executed).

        Raises:
            ValueError: the library or the weights are missing.
        """
        state, sentence = self.status()
        if state == "missing":
            raise ValueError(sentence)
        import whisper

        model = whisper.load_model(str(self.weights), device=device)

        def transcribe(clips: Sequence[AudioClip]) -> list[str]:
            short = [place for place, clip in enumerate(clips) if clip.duration_s <= WINDOW_S]
            texts = dict(zip(short, _decode_batch(model, [clips[place] for place in short]), strict=True))
            return [texts[place] if place in texts else _decode(model, clip) for place, clip in enumerate(clips)]

        return transcribe

    def status(self) -> tuple[str, str]:
        if find_spec("whisper") is None:
            return "missing", "Whisper is not installed; pip install openai-whisper"
        if not self.weights.is_file():
            return "missing", f"{self.name}: no weights at {self.weights}; put them there or set AUDIOLM_WHISPER_DIR"
        return "ready", f"Whisper {self.size} from {self.weights}"

    def fingerprint(self) -> Mapping[str, str]:
        try:
            installed = version("openai-whisper")
        except PackageNotFoundError:
            installed = "not installed"
        path = self.weights
        digest = _digest(path, path.stat().st_mtime_ns) if path.is_file() else "none"
        return {
            "asr": f"openai-whisper {installed} {self.size}",
            "asr_settings": f"language=en,temperature=0,condition_on_previous_text=False,batch={BATCH},no_timestamps",
            "asr_model_sha256": digest,
        }


def _decode_batch(model, clips: Sequence[AudioClip]) -> list[str]:
    """Texts of clips that fit one window, decoded together in blocks of one fixed size.

    The last block is filled up with silence: a matrix product rounds by its shape, so a clip's text does not depend on
    how many others there are.
    """
    import torch
    import whisper

    options = whisper.DecodingOptions(
        language="en", temperature=0.0, without_timestamps=True, fp16=model.device.type == "cuda"
    )
    texts: list[str] = []
    for start in range(0, len(clips), BATCH):
        block = [_checked(clip).samples for clip in clips[start : start + BATCH]]
        filled = [*block, *[np.zeros(1, dtype=np.float32)] * (BATCH - len(block))]
        mels = torch.stack([
            whisper.log_mel_spectrogram(whisper.pad_or_trim(samples), model.dims.n_mels) for samples in filled
        ]).to(model.device)  # fmt: skip
        with torch.inference_mode():
            results = whisper.decode(model, mels.half() if options.fp16 else mels, options)
        texts += [result.text.strip() for result in results[: len(block)]]  # type: ignore[union-attr]
    return texts


def _checked(clip: AudioClip) -> AudioClip:
    if clip.sample_rate_hz != SAMPLE_RATE_HZ:
        raise AudioError(f"Whisper needs {SAMPLE_RATE_HZ} Hz, not {clip.sample_rate_hz} Hz; resample the clip")
    return clip


def _decode(model, clip: AudioClip) -> str:
    """A clip of several windows, one after another, without text carried over."""
    result = model.transcribe(
        _checked(clip).samples,
        language="en",
        temperature=0.0,
        condition_on_previous_text=False,
        fp16=model.device.type == "cuda",
    )
    return str(result["text"]).strip()


@lru_cache(maxsize=4)
def _digest(path: Path, changed_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
