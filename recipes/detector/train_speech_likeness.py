"""Train the check for speech: ``python train_speech_likeness.py CORPUS CLIPS OUT``, two minutes on a core.

``CLIPS`` is the cache folder of ``detect-train``: everything in it is speech, recorded or synthetic, good or bad.
Its training clips are shown plain, and with pauses, noise and rooms. No speech: training pieces and every second noise
of the corpus, and what ``nonspeech.py`` makes up.
The threshold is even odds, or lower where 99 % of held-out genuine clips need it.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from nonspeech import MAKERS, RATE_HZ

from audiolm.audio import AudioClip
from detectors.artefacts import write_artefact
from detectors.augmentation import AugmentConfig, augment_batch
from detectors.labelled import LabelledClip
from detectors.networks.likeness import LikenessNetwork
from detectors.preparation import active_frames
from detectors.speech_likeness import FEATURES, file_score, window_features
from evaluation.detector_data import noise_recordings
from evaluation.leave_out import read_clip_cache
from evaluation.manifest import read_utterances

SEED, CLIP_S = 0, 5.0
SOURCE = "even odds, which more than 99 % of {} held-out genuine clips pass, plain, in noise and rooms"
AUGMENT = replace(
    AugmentConfig(), channel_share=0.0, noise_share=0.6, snr_db=(3.0, 40.0), reverb_share=0.4, reverb_t60_s=(0.1, 1.0)
)


def _crop(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    size = int(CLIP_S * RATE_HZ)
    start = int(rng.integers(max(1, samples.size - size + 1)))
    return samples[start : start + size]


def _speech(clips: Sequence[LabelledClip], split: str) -> Iterator[np.ndarray]:
    """All generators and, for the held-out clips, recordings only."""
    for clip in clips:
        plain = clip.condition in ("raw", "own_codec")
        if (
            plain
            and clip.split == split
            and (split == "train" or clip.is_bona_fide)
            and clip.samples.size > 2 * RATE_HZ
        ):
            yield clip.samples


def _no_speech(corpus: Path, rng: np.random.Generator) -> Iterator[np.ndarray]:
    for row in read_utterances(corpus / "manifest.csv", kind="piano"):
        if row.split == "train":
            samples = AudioClip.from_file(row.audio_path).at_rate(RATE_HZ).samples
            for _ in range(5):
                yield _crop(samples, rng)
    for samples in noise_recordings(corpus)[::2]:
        for _ in range(min(12, 1 + samples.size // RATE_HZ // 4)):
            yield _crop(samples, rng)
    for maker in MAKERS.values():
        for _ in range(80):
            made = maker(CLIP_S, rng)
            yield (made / (np.abs(made).max() + 1e-9) * 0.7).astype(np.float32)


def _with_pauses(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Said with pauses, as numbers and spelled names are: pieces of 0.3 to 1.5 s with near silence between them."""
    pieces, at = [], 0
    while at < samples.size:
        size = int(rng.uniform(0.3, 1.5) * RATE_HZ)
        pause = int(rng.uniform(0.1, 1.0) * RATE_HZ)
        floor = rng.standard_normal(pause) * np.abs(samples).max() * 10.0 ** rng.uniform(-4.0, -2.0)
        pieces += [samples[at : at + size], floor.astype(np.float32)]
        at += size
    return np.concatenate(pieces)[: int(CLIP_S * RATE_HZ)]


def _windows(samples: np.ndarray) -> np.ndarray:
    return window_features(samples, active_frames(samples))[0]


def _features(
    clips: Iterator[np.ndarray], copies: int, noises: list[np.ndarray], rng: np.random.Generator, *, pauses: bool
) -> list[np.ndarray]:
    found = []
    for clip in clips:
        found.append(_windows(clip))
        for _ in range(copies):
            changed = _with_pauses(clip, rng) if pauses and rng.random() < 0.6 else clip
            found.append(_windows(augment_batch(changed[None], AUGMENT, noises, rng)[0]))
    return [rows for rows in found if len(rows)]


def build(corpus: Path, cache: Path) -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(SEED)
    noises, clips = noise_recordings(corpus)[::2], read_clip_cache(cache)
    return {
        "speech": _features(_speech(clips, "train"), 1, noises, rng, pauses=True),
        "other": _features(_no_speech(corpus, rng), 1, noises, rng, pauses=False),
        "held": _features(_speech(clips, "held"), 2, noises, rng, pauses=False),
    }


def train(kinds: dict[str, list[np.ndarray]]) -> LikenessNetwork:
    torch.manual_seed(SEED)
    rows = [np.concatenate(kinds[name]).astype(np.float32) for name in ("speech", "other")]
    inputs = torch.from_numpy(np.concatenate(rows))
    labels = torch.from_numpy(np.repeat([1.0, 0.0], [len(part) for part in rows]).astype(np.float32))
    weights = torch.from_numpy(np.repeat([0.5 / len(part) for part in rows], [len(part) for part in rows]))
    network = LikenessNetwork(FEATURES)
    network.centre.copy_(inputs.mean(0))
    network.spread.copy_(inputs.std(0) + 1e-3)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    steps = 3_000
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        index = torch.multinomial(weights, 256, replacement=True)
        noisy = inputs[index] + 0.15 * network.spread * torch.randn(256, FEATURES)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network.train()(noisy), labels[index])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 500 == 0:
            logging.info("step %d loss %.4f", step, loss.item())
    return network.eval()


def _score(network: LikenessNetwork, rows: np.ndarray) -> float:
    with torch.inference_mode():
        return file_score(network(torch.from_numpy(rows.astype(np.float32))).numpy())


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    corpus, cache, out = map(Path, sys.argv[1:])
    torch.set_num_threads(1)
    kinds = build(corpus, cache)
    network = train(kinds)
    held, other = (np.asarray([_score(network, rows) for rows in kinds[name]]) for name in ("held", "other"))
    threshold = min(0.0, float(np.quantile(held, 0.01)))
    logging.info(
        "threshold %.3f; training sounds without speech above it: %.3f",
        threshold,
        np.mean(np.asarray(other) > threshold),
    )
    config = {
        "threshold": threshold,
        "threshold_source": SOURCE.format(len(held)),
        "features": FEATURES,
        "training": {name: len(rows) for name, rows in kinds.items()},
    }
    write_artefact(out, network.state_dict(), config, {})
    print(json.dumps(config))


if __name__ == "__main__":
    main()
