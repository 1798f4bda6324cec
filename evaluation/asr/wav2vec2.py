"""wav2vec 2.0 and HuBERT with a CTC head, from torchaudio: a second family of recognisers beside Whisper.

``wav2vec2:<bundle>`` names one of torchaudio's English bundles, e.g. ``wav2vec2:base-960h``. Their weights are looked
for in ``AUDIOLM_WAV2VEC2_DIR``, else where torchaudio keeps them (``~/.cache/torch/hub/checkpoints``), under the file
name that torchaudio gives them; nothing is ever downloaded here. Decoding is greedy: the likeliest letter of each
frame, repetitions and blanks taken out (Graves et al. 2006), no language model, so that errors are the sound's own.
They were trained on LibriSpeech, some with its unlabelled part: on LibriSpeech they know more than they should.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from audiolm.audio import AudioClip, AudioError

__all__ = ["BUNDLES", "Wav2Vec2", "greedy_text"]

SAMPLE_RATE_HZ = 16_000
MIN_SAMPLES = 400
"""One frame of the convolutional front end; shorter clips are filled up with silence."""
BUNDLES: Mapping[str, str] = {
    "base-960h": "WAV2VEC2_ASR_BASE_960H",
    "large-960h": "WAV2VEC2_ASR_LARGE_960H",
    "large-lv60k-960h": "WAV2VEC2_ASR_LARGE_LV60K_960H",
    "hubert-large": "HUBERT_ASR_LARGE",
    "hubert-xlarge": "HUBERT_ASR_XLARGE",
}
"""Names after the colon and torchaudio's own."""
WORD_GAP = "|"
BLANK = 0


class Wav2Vec2:
    """One bundle, e.g. ``Wav2Vec2("base-960h")``. Each clip goes through the network alone."""

    def __init__(self, bundle: str) -> None:
        if bundle not in BUNDLES:
            raise ValueError(f"AUDIOLM_ASR: no bundle {bundle!r}; use wav2vec2: and one of {', '.join(BUNDLES)}")
        self.name = f"wav2vec2:{bundle}"
        self._bundle_name = BUNDLES[bundle]

    @property
    def weights(self) -> Path:
        """Where the weights of this bundle belong."""
        folder = os.environ.get("AUDIOLM_WAV2VEC2_DIR")
        home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch") / "hub" / "checkpoints"
        return (Path(folder) if folder else home) / Path(self._bundle()._path).name

    def load(self, device: str):
        """Read the weights (tensors only, nothing in the file is executed).

        Raises:
            ValueError: the weights are missing or do not fit the bundle's network.
        """
        import torch

        state, sentence = self.status()
        if state == "missing":
            raise ValueError(sentence)
        bundle = self._bundle()
        try:
            weights = torch.load(self.weights, map_location="cpu", weights_only=True)
            model = _filled(bundle, weights).to(device).eval()
        except Exception as error:  # what a damaged or other file leads to is anything
            raise ValueError(f"{self.weights}: is not {self._bundle_name} ({error}); fetch it again") from error
        labels, normalise = bundle.get_labels(), bool(bundle._normalize_waveform)

        def transcribe(clips: Sequence[AudioClip]) -> list[str]:
            return [greedy_text(_emissions(model, clip, normalise, device), labels) for clip in clips]

        return transcribe

    def status(self) -> tuple[str, str]:
        if find_spec("torchaudio") is None:
            return "missing", "torchaudio is not installed; pip install torchaudio"
        if not self.weights.is_file():
            return "missing", f"{self.name}: no weights at {self.weights}; put them there or set AUDIOLM_WAV2VEC2_DIR"
        return "ready", f"{self._bundle_name} of torchaudio from {self.weights}, greedy CTC"

    def fingerprint(self) -> Mapping[str, str]:
        import torchaudio

        path = self.weights
        return {
            "asr": f"torchaudio {torchaudio.__version__} {self._bundle_name}",
            "asr_settings": "greedy CTC, one clip at a time",
            "asr_model_sha256": _digest(path, path.stat().st_mtime_ns) if path.is_file() else "none",
        }

    def _bundle(self) -> Any:
        import torchaudio

        return getattr(torchaudio.pipelines, self._bundle_name)


def greedy_text(emissions: np.ndarray, labels: Sequence[str]) -> str:
    """The likeliest label of each frame ``[frame, label]``, repetitions merged, blanks dropped, gaps as spaces."""
    best = np.asarray(emissions).argmax(axis=1)
    kept = best[np.flatnonzero(np.diff(best, prepend=-1))]
    letters = "".join(labels[int(index)] for index in kept if index != BLANK)
    return " ".join(letters.replace(WORD_GAP, " ").lower().split())


def _emissions(model: Any, clip: AudioClip, normalise: bool, device: str) -> np.ndarray:
    import torch

    if clip.sample_rate_hz != SAMPLE_RATE_HZ:
        raise AudioError(f"wav2vec 2.0 needs {SAMPLE_RATE_HZ} Hz, not {clip.sample_rate_hz} Hz; resample the clip")
    samples = np.pad(clip.samples, (0, max(0, MIN_SAMPLES - len(clip.samples))))
    with torch.inference_mode():
        waveform = torch.from_numpy(samples)[None].to(device)
        if normalise:
            waveform = torch.nn.functional.layer_norm(waveform, waveform.shape)
        return model(waveform)[0][0].float().cpu().numpy()


def _filled(bundle: Any, weights: dict[str, Any]) -> Any:
    """The bundle's network with its weights. fairseq's dictionary left three letters that no text has; they go, as
    torchaudio's own loader does it."""
    import torch
    import torchaudio

    model = torchaudio.models.wav2vec2_model(**bundle._params)
    unused = bundle._remove_aux_axis
    for key in ("aux.weight", "aux.bias"):
        rows = weights[key]
        if len(rows) == len(bundle.get_labels()) + len(unused):
            weights[key] = torch.stack([rows[place] for place in range(len(rows)) if place not in unused])
    model.load_state_dict(weights)
    return model


@lru_cache(maxsize=4)
def _digest(path: Path, changed_ns: int) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
