"""The probe on speech features: which clips, which blocks of the network, and how they were chosen."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from detectors.channels import through_channel
from detectors.labelled import BONA_FIDE, LabelledClip
from evaluation.own_evidence.card import own_card
from evaluation.own_evidence.detectors import SpeechVectors, speech_source
from evaluation.own_evidence.evidence_clips import clip_rng, shortened
from evaluation.own_evidence.fitting import KeptVectors, Windows, best_ridge, fit_on, score, windows_of, write
from evaluation.own_evidence.generations import spread

__all__ = ["fit_probe", "probe_clips"]

logger = logging.getLogger(__name__)
COUNTS = {"train": (160, 60, 40), "held": (30, 14, 6), "test": (40, 20, 10)}
"""Genuine clips as they are and through our codec, and clips of each generator."""
RIDGES = (30.0, 300.0, 1000.0)
SENT = ("mp3", "opus", "mu_law", "telephone")
ABOUT = (
    "A linear probe: mean and deviation over time of what blocks of a speech model put out, for every window of 2 s."
    " The network learnt speech, not forgery; the probe shows how much of a forgery it hears. A weak detector beside"
    " the networks that learnt from sound directly, and another view for comparison.",
)
NOT_SHOWN = (
    "systems that are not in the table of clips",
    "noise, rooms, speed and level changed on purpose; channels other than MP3, Opus, mu-law and telephone",
)


def probe_clips(clips: Sequence[LabelledClip], own: Sequence[LabelledClip], seed: int) -> dict[str, list[LabelledClip]]:
    """The clips of each split; every fourth again through a channel, whatever its class."""
    found = {}
    for split, (raw, coded, each) in COUNTS.items():
        mine = [c for c in [*clips, *own] if c.split == split and c.condition in ("raw", "own_codec")]
        cells = sorted({(c.generator, c.condition) for c in mine})
        chosen = []
        for cell in cells:
            count = each if cell[0] != BONA_FIDE else raw if cell[1] == "raw" else coded
            chosen += spread([c for c in mine if (c.generator, c.condition) == cell], count, seed)
        chosen = shortened(chosen)
        found[split] = chosen + [_sent(c, SENT[k // 4 % len(SENT)], seed) for k, c in enumerate(chosen) if k % 4 == 0]
    return found


def _sent(clip: LabelledClip, channel: str, seed: int) -> LabelledClip:
    samples = through_channel(clip.samples, channel, clip_rng(seed, channel, clip))
    return replace(clip, samples=samples, condition=channel)


def fit_probe(
    model: str, bundle: str, last: int, clips: Sequence[LabelledClip], own: Sequence[LabelledClip], work: Path,
    out: Path, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Fit to ``model``'s w2v-BERT, or to ``bundle`` up to block ``last``; write to ``out``; gives the config."""
    blocks_of, digests = speech_source(model, bundle, last)
    first, count = (1, last + 1) if bundle else (0, len(blocks_of(np.zeros(16_000, np.float32))))
    blocks = list(range(first, count))
    whole = KeptVectors(SpeechVectors(blocks_of, blocks), work, "speech-1" + "".join(digests.values()) + str(blocks))
    sets = probe_clips(clips, own, seed)
    training, held = windows_of(whole, sets["train"]), windows_of(whole, sets["held"])
    chosen, columns, tried = _choose(training, held, blocks)
    head, ridge, rate = best_ridge(_of(training, columns), _of(held, columns), RIDGES)
    whole.columns = columns
    fitted, scored_held = fit_on("ssl_probe", whole, head, sets["held"])
    test = score(fitted, sets["test"])
    extra = {
        "title": f"ssl_probe: a linear probe on {bundle or 'our own w2v-BERT'}, blocks {', '.join(map(str, chosen))}",
        "model": model,
        "bundle": bundle,
        "blocks": chosen,
        "model_parts": digests,
        "ridge": ridge,
        "held_window_eer": round(rate, 6),
        "held_window_eer_of_blocks": {some: round(value, 6) for some, value in tried.items()},
        "not_shown": list(NOT_SHOWN),
        "seed": seed,
    }
    return write(out, fitted, scored_held, test, sets["train"], extra, lambda c, s: own_card(c, s, ABOUT), about=test)


def _choose(training: Windows, held: Windows, blocks: Sequence[int]) -> tuple[list[int], np.ndarray, dict[str, float]]:
    """The blocks that do best on calibration speakers, their columns, and how each choice did.

    Tried: each alone, the two that do best alone, and all.
    """
    width = training.vectors.shape[1] // len(blocks)
    places = {block: np.arange(at * width, (at + 1) * width) for at, block in enumerate(blocks)}
    tried: dict[tuple[int, ...], float] = {}

    def attempt(some: Sequence[int]) -> None:
        columns = np.concatenate([places[block] for block in some])
        tried[tuple(some)] = best_ridge(_of(training, columns), _of(held, columns), RIDGES)[2]
        logger.info("blocks %s: %.3f", list(some), tried[tuple(some)])

    for block in blocks:
        attempt([block])
    attempt(sorted(sorted(blocks, key=lambda block: tried[(block,)])[:2]))
    attempt(blocks)
    chosen = list(min(tried, key=lambda some: tried[some]))
    columns = np.concatenate([places[block] for block in chosen])
    return chosen, columns, {" ".join(map(str, some)): rate for some, rate in tried.items()}


def _of(windows: Windows, columns: np.ndarray) -> Windows:
    return replace(windows, vectors=windows.vectors[:, columns])
