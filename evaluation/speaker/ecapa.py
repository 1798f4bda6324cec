"""ECAPA-TDNN of SpeechBrain, for users who have its weights.

Weights come from the folder ``AUDIOLM_ECAPA_DIR`` (the files of ``speechbrain/spkrec-ecapa-voxceleb``); nothing is
fetched unless ``AUDIOLM_ECAPA_DIR`` is set to that hub name on purpose.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from audiolm.audio import AudioClip
from evaluation.speaker.silence import trim_silences
from evaluation.speaker.speechbrain_modules import forget_stand_ins

__all__ = ["ENCODER", "HUB_NAME", "EcapaEncoder"]

HUB_NAME = "speechbrain/spkrec-ecapa-voxceleb"
REQUIRED = ("hyperparams.yaml", "embedding_model.ckpt", "mean_var_norm_emb.ckpt")
SAMPLE_RATE_HZ = 16_000
MIN_SPEECH_S = 0.5
THRESHOLD = 0.25
"""SpeechBrain's own default decision threshold for this model (``SpeakerRecognition.verify_batch``)."""


class EcapaEncoder:
    """A loaded SpeechBrain classifier; one clip per call, since padding would change the vector."""

    def __init__(self, classifier) -> None:
        self._classifier = classifier

    def embed(self, clip: AudioClip) -> np.ndarray | None:
        """Unit-length float32 ``[192]``, or None with less than 0.5 s of speech."""
        import torch

        samples = trim_silences(clip.at_rate(SAMPLE_RATE_HZ).samples, SAMPLE_RATE_HZ)
        if len(samples) < MIN_SPEECH_S * SAMPLE_RATE_HZ:
            return None
        with torch.inference_mode():
            vector = self._classifier.encode_batch(torch.from_numpy(samples)[None, :])[0, 0].cpu().numpy()
        return vector / np.linalg.norm(vector)


class _EcapaEntry:
    name = "ecapa"
    threshold = THRESHOLD
    threshold_source = "SpeechBrain's default decision threshold for ECAPA-TDNN on VoxCeleb, not calibrated here"

    def log_ratio(self, cosine: float) -> float | None:
        """None: no calibration of these weights is shipped."""
        return None

    def load(self, device: str) -> EcapaEncoder:
        """Read the weights.

        Raises:
            ValueError: they are not there, or SpeechBrain is not installed.
        """
        state, sentence = self.status()
        if state == "missing":
            raise ValueError(sentence)
        from speechbrain.inference.speaker import EncoderClassifier

        place = os.environ["AUDIOLM_ECAPA_DIR"]
        folder = place if Path(place).is_dir() else tempfile.mkdtemp(prefix="audiolm-ecapa-")
        classifier = EncoderClassifier.from_hparams(source=place, savedir=folder, run_opts={"device": device})
        forget_stand_ins()
        if classifier is None:
            raise ValueError(f"AUDIOLM_ECAPA_DIR: SpeechBrain could not read a classifier from {place!r}")
        return EcapaEncoder(classifier)

    def status(self) -> tuple[str, str]:
        if find_spec("speechbrain") is None:
            return "missing", "SpeechBrain is not installed; pip install speechbrain"
        place = os.environ.get("AUDIOLM_ECAPA_DIR", "")
        if place == HUB_NAME:
            return "degraded", f"ECAPA-TDNN will be downloaded from the hub as {HUB_NAME}; its revision is not pinned"
        absent = [name for name in REQUIRED if not (Path(place) / name).is_file()] if place else list(REQUIRED)
        if absent:
            lack = f"={place!r} lacks {', '.join(absent)}" if place else " is not set"
            return "missing", f"AUDIOLM_ECAPA_DIR{lack}; point it to a folder with the files of {HUB_NAME}"
        return "ready", f"ECAPA-TDNN from {place}"

    def fingerprint(self) -> Mapping[str, str]:
        try:
            library = version("speechbrain")
        except PackageNotFoundError:
            library = "not installed"
        weights = Path(os.environ.get("AUDIOLM_ECAPA_DIR", "")) / "embedding_model.ckpt"
        digest = _digest(weights, weights.stat().st_mtime_ns) if weights.is_file() else "none"
        return {"encoder": self.name, "speechbrain": library, "weights_sha256": digest, "threshold": f"{THRESHOLD:g}"}


@lru_cache(maxsize=4)
def _digest(path: Path, changed_ns: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


ENCODER = _EcapaEntry()
