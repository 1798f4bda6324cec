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

from audiolm.audio import AudioClip, AudioError

__all__ = ["Whisper"]

SAMPLE_RATE_HZ = 16_000
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
            return [_decode(model, clip) for clip in clips]

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
            "asr_settings": "language=en,temperature=0,condition_on_previous_text=False",
            "asr_model_sha256": digest,
        }


def _decode(model, clip: AudioClip) -> str:
    if clip.sample_rate_hz != SAMPLE_RATE_HZ:
        raise AudioError(f"Whisper needs {SAMPLE_RATE_HZ} Hz, not {clip.sample_rate_hz} Hz; resample the clip")
    result = model.transcribe(
        clip.samples,
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
