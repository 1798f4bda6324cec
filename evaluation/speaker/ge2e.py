"""The embedded speaker encoder: a three-layer LSTM trained with the generalised end-to-end loss.

Source: Wan, Wang, Papir and Lopez Moreno, "Generalized end-to-end loss for speaker verification", ICASSP 2018; weights
of Resemblyzer (Apache-2.0), see ``pretrained/NOTICE.md``. A clip is cut into windows of 1.6 s; its vector is the mean
of theirs. For the same preprocessed samples the vectors equal Resemblyzer's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from audiolm.audio import AudioClip
from evaluation.acoustics.level import is_silent
from evaluation.speaker.silence import set_level, trim_silences

__all__ = ["ENCODER", "Ge2eEncoder", "window_starts"]

PRETRAINED = Path(__file__).parent / "pretrained"
WEIGHTS = PRETRAINED / "ge2e.safetensors"
CALIBRATION = PRETRAINED / "ge2e_calibration.json"

SAMPLE_RATE_HZ = 16_000
N_MELS, N_FFT, HOP = 40, 400, 160  # 25 ms windows every 10 ms
WINDOW_FRAMES = 160  # 1.6 s
WINDOWS_PER_S = 1.3
LAST_WINDOW_COVERAGE = 0.75
HIDDEN, LAYERS = 256, 3
BLOCK_WINDOWS = 8
"""Windows that go through the network together, filled up with silence; decides rounding, so in the fingerprint."""
MIN_SPEECH_S = 0.5
"""With less speech than this most of the single window would be padding."""


def window_starts(n_samples: int) -> list[int]:
    """First mel frame of each 1.6 s window of a clip; a last window covered by less than 75 % is left out."""
    frames = -(-(n_samples + 1) // HOP)
    step = int(np.round(SAMPLE_RATE_HZ / WINDOWS_PER_S / HOP))
    starts = list(range(0, max(1, frames - WINDOW_FRAMES + step + 1), step))
    covered = (n_samples - starts[-1] * HOP) / (WINDOW_FRAMES * HOP)
    return starts[:-1] if covered < LAST_WINDOW_COVERAGE and len(starts) > 1 else starts


class Ge2eEncoder:
    """The loaded network. ``embed`` prepares the clip (level, pauses); ``embed_samples`` takes it as it is."""

    def __init__(self, weights: Mapping[str, object], device: str = "cpu") -> None:
        import torch
        from torchaudio.functional import melscale_fbanks

        self._device = torch.device(device)
        self._lstm = torch.nn.LSTM(N_MELS, HIDDEN, LAYERS, batch_first=True)
        self._linear = torch.nn.Linear(HIDDEN, HIDDEN)
        for prefix, module in (("lstm.", self._lstm), ("linear.", self._linear)):
            state = {key[len(prefix) :]: value for key, value in weights.items() if key.startswith(prefix)}
            module.load_state_dict({key: torch.as_tensor(value).float() for key, value in state.items()})
            module.to(self._device).eval()
        self._window = torch.hann_window(N_FFT)
        self._filters = melscale_fbanks(
            N_FFT // 2 + 1, 0.0, SAMPLE_RATE_HZ / 2, N_MELS, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
        )  # [bin, mel]

    def embed(self, clip: AudioClip) -> np.ndarray | None:
        """Unit-length float32 ``[256]``, or None with less than 0.5 s of speech."""
        return self.embed_many([clip])[0]

    def embed_many(self, clips: Sequence[AudioClip]) -> list[np.ndarray | None]:
        """What :meth:`embed` gives for each clip, to the last bit, in less time."""
        prepared = [_prepared(clip) for clip in clips]
        vectors = iter(self._embedded([samples for samples in prepared if samples is not None]))
        return [None if samples is None else next(vectors) for samples in prepared]

    def embed_samples(self, samples: np.ndarray) -> np.ndarray:
        """Unit-length float32 ``[256]`` of prepared 16 kHz samples ``[time]``; entries are not negative."""
        return self._embedded([samples])[0]

    def _embedded(self, prepared: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Windows of all clips go through the network in blocks of one fixed size.

        A matrix product rounds by its shape, not by its neighbours' content: with one shape, a window's vector does not
        depend on what shares its block.
        """
        import torch

        with torch.inference_mode():
            pieces = [self._windows(samples) for samples in prepared]
            if not pieces:
                return []
            windows = torch.cat(pieces)  # [window, frame, mel]
            count = len(windows)
            windows = torch.nn.functional.pad(windows, (0, 0, 0, 0, 0, -count % BLOCK_WINDOWS))
            vectors = torch.cat([self._network(block) for block in windows.split(BLOCK_WINDOWS)])[:count]
            means = [part.mean(dim=0).cpu().numpy() for part in vectors.split([len(piece) for piece in pieces])]
        return [mean / np.linalg.norm(mean) for mean in means]

    def _windows(self, samples: np.ndarray):
        """Mel power of each window, ``[window, frame, mel]``."""
        import torch

        starts = window_starts(len(samples))
        needed = (starts[-1] + WINDOW_FRAMES) * HOP
        padded = np.pad(samples, (0, max(0, needed - len(samples))))
        spectrum = torch.stft(
            torch.from_numpy(padded), N_FFT, HOP, window=self._window, pad_mode="constant", return_complex=True
        )  # [bin, frame]
        mels = spectrum.abs().square().T @ self._filters  # [frame, mel]
        return torch.stack([mels[start : start + WINDOW_FRAMES] for start in starts])

    def _network(self, block):
        """Unit vectors ``[window, 256]`` of one block."""
        import torch

        _, (hidden, _) = self._lstm(block.to(self._device))
        vectors = torch.relu(self._linear(hidden[-1]))
        return vectors / vectors.norm(dim=1, keepdim=True).clamp_min(1e-12)


def _prepared(clip: AudioClip) -> np.ndarray | None:
    """Level set and pauses cut, or None with less than 0.5 s of speech."""
    samples = clip.at_rate(SAMPLE_RATE_HZ).samples
    if is_silent(samples, SAMPLE_RATE_HZ):
        return None
    samples = trim_silences(set_level(samples), SAMPLE_RATE_HZ)
    return samples if len(samples) >= MIN_SPEECH_S * SAMPLE_RATE_HZ else None


class _Ge2eEntry:
    name = "ge2e"

    @cached_property
    def _calibration(self) -> dict[str, object]:
        return json.loads(CALIBRATION.read_text(encoding="utf-8"))

    @property
    def threshold(self) -> float:
        return float(str(self._calibration["threshold"]))

    @property
    def threshold_source(self) -> str:
        return str(self._calibration["source"])

    def log_ratio(self, cosine: float) -> float | None:
        """Log10 likelihood ratio of one speaker to two, from the logistic line of the calibration."""
        if "llr_slope" not in self._calibration:
            return None
        return float(str(self._calibration["llr_slope"])) * cosine + float(str(self._calibration["llr_offset"]))

    def load(self, device: str) -> Ge2eEncoder:
        from safetensors.torch import load_file

        expected = str(self._calibration["weights_sha256"])
        if self._digest != expected:
            raise ValueError(
                f"{WEIGHTS}: digest is {self._digest[:12]}, expected {expected[:12]}; install the package again"
            )
        return Ge2eEncoder(load_file(WEIGHTS), device)

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()

    def status(self) -> tuple[str, str]:
        if not WEIGHTS.is_file():
            return "missing", f"{WEIGHTS.name} is not in the package; install the package again"
        return "ready", "GE2E speaker encoder, weights in the package"

    def fingerprint(self) -> Mapping[str, str]:
        line = f"{self._calibration.get('llr_slope')} {self._calibration.get('llr_offset')}"
        return {
            "encoder": self.name,
            "weights_sha256": self._digest,
            "threshold": f"{self.threshold:.4f}",
            "log_ratio": line,
            "block_windows": str(BLOCK_WINDOWS),
        }


ENCODER = _Ge2eEntry()
