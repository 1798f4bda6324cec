"""A classifier of given speakers: SpeechBrain's ECAPA-TDNN, small, trained here on the user's own recordings.

AudioLM's Table III asks such a classifier who speaks in a continuation (Borsos et al. 2023, section IV-D); the network
is that of Desplanques et al. 2020. Training is short and its random numbers come from a seed alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.acoustics.log_mel import log_mel
from evaluation.speaker.speechbrain_modules import forget_stand_ins

__all__ = ["ClosedSet", "train_closed_set"]

RATE_HZ = 16_000
BANDS = 40
CROP_FRAMES = 150
"""1.5 s of frames every 10 ms."""
BATCH, STEPS, CHANNELS = 16, 200, 48
LEARNING_RATE = 2e-3


class ClosedSet:
    """A trained classifier of ``speakers``."""

    def __init__(self, network, head, speakers: Sequence[str]) -> None:
        self._network, self._head, self.speakers = network, head, tuple(speakers)

    def who(self, samples: np.ndarray) -> str | None:
        """The likeliest speaker of a clip at 16 kHz; None for one shorter than 0.2 s."""
        import torch

        features = _features(samples)
        if len(features) < 20:
            return None
        with torch.inference_mode():
            vector = self._network(torch.from_numpy(features)[None])[:, 0]
            return self.speakers[int(self._head(vector).argmax())]


def train_closed_set(recordings: Mapping[str, Sequence[np.ndarray]], seed: int, steps: int = STEPS) -> ClosedSet:
    """A classifier from recordings at 16 kHz by speaker, crops drawn evenly over speakers.

    Raises:
        ValueError: fewer than two speakers, or one without a recording of 0.2 s.
    """
    import torch
    from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN

    forget_stand_ins()
    speakers = sorted(recordings)
    features = [[f for f in map(_features, recordings[name]) if len(f) >= 20] for name in speakers]
    empty = [name for name, found in zip(speakers, features, strict=True) if not found]
    if len(speakers) < 2 or empty:
        listed = ", ".join(empty) or "none"
        raise ValueError(f"{len(speakers)} speakers, without a recording: {listed}; give two or more with recordings")
    generator = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = ECAPA_TDNN(
            BANDS, lin_neurons=64, channels=[CHANNELS] * 4 + [3 * CHANNELS], kernel_sizes=[5, 3, 3, 3, 1],
            dilations=[1, 2, 3, 4, 1], attention_channels=32, res2net_scale=4, se_channels=32,
        )  # fmt: skip
        head = torch.nn.Linear(64, len(speakers))
        optimiser = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=LEARNING_RATE)
        network.train()
        for _ in range(steps):
            labels = generator.integers(len(speakers), size=BATCH)
            crops = [_crop(features[int(label)], generator) for label in labels]
            logits = head(network(torch.from_numpy(np.stack(crops)))[:, 0])
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return ClosedSet(network.eval(), head, speakers)


def _features(samples: np.ndarray) -> np.ndarray:
    """Log-mel levels without each band's mean over the clip, so that a microphone alone is no speaker: float32."""
    mels = log_mel(samples, RATE_HZ, bands=BANDS, window_s=0.025)
    mels = np.maximum(mels, float(mels.max()) - 60.0)
    return ((mels - mels.mean(axis=0)) / 20.0).astype(np.float32)


def _crop(clips: Sequence[np.ndarray], generator: np.random.Generator) -> np.ndarray:
    clip = clips[int(generator.integers(len(clips)))]
    clip = np.resize(clip, (max(len(clip), CROP_FRAMES), BANDS))
    start = int(generator.integers(len(clip) - CROP_FRAMES + 1))
    return clip[start : start + CROP_FRAMES]
