"""Further training clips, so that no single system outweighs its family.

Other stretches of the same recordings, imitated artefacts with everything drawn, small neural codecs and vocoders of
drawn geometry, mixed voices of a published program, published networks with their weights moved.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from audiolm.audio import AudioClip
from detectors.labelled import LabelledClip, load_clips, save_clips
from evaluation.detector_bent import BENT_VOICES, bent_vocoder, bent_voice, can_bend, world_bent
from evaluation.detector_chains import hifigan_chained
from evaluation.detector_codecs import OWN_CODEC, codecs
from evaluation.detector_data import TEXTS, further_recordings, trimmed
from evaluation.detector_harmonics import harmonics_drawn
from evaluation.detector_imitations import IMITATIONS
from evaluation.detector_neural import NeuralGenerator, resynthesise, train_generator
from evaluation.detector_public import KOKORO_VOICES, installed, public_vocoders, speak_kokoro_mix
from evaluation.detector_rules import rules_drawn
from evaluation.detector_tokens import tokens_drawn
from evaluation.detector_vocoders import phase_rebuilt

__all__ = ["MoreSizes", "drawn_geometry", "drawn_often", "more_clips"]

logger = logging.getLogger(__name__)
RATE_HZ = 16_000
LENGTHS_S = (2.6, 4.0)
STRIDES = ((5, 4, 4, 2), (5, 4, 4, 4), (8, 5, 4, 2), (8, 8, 4), (5, 5, 8), (6, 5, 4, 2), (4, 4, 4, 5))
DRAWN_STEPS = 220


@dataclass(frozen=True, slots=True, kw_only=True)
class MoreSizes:
    """``imitated``: clips per imitation by split; ``geometries``: drawn networks; ``drawn``: clips of each by split."""

    imitated: Mapping[str, int]
    geometries: int = 4
    drawn: Mapping[str, int]
    vocoded: int = 90
    mixed: int = 60
    many: Mapping[str, int] = field(default_factory=dict)
    """Training clips of what is hard, or stands for a whole family: names of :func:`drawn_often`."""
    through_codec: int = 0
    """Training clips of recordings through our own codec, genuine: beside as many whose codes were drawn."""
    bent: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Name of a published network (``world``: a vocoder without one) to how many bent copies, and clips of each."""


class _Source:
    """Stretches of recordings, corpora by the square root of their size."""

    def __init__(self, recorded: Sequence[LabelledClip]) -> None:
        self.groups: dict[tuple[str, str], list[LabelledClip]] = {}
        for clip in recorded:
            self.groups.setdefault((clip.split, clip.utterance_id.split("-")[1]), []).append(clip)

    def draw(self, split: str, rng: np.random.Generator) -> LabelledClip:
        names = [name for name in self.groups if name[0] == split]
        sizes = np.asarray([len(self.groups[name]) for name in names]) ** 0.5
        members = self.groups[names[int(rng.choice(len(names), p=sizes / sizes.sum()))]]
        clip = members[int(rng.integers(len(members)))]
        length = int(rng.uniform(*LENGTHS_S) * RATE_HZ)
        start = int(rng.integers(max(1, clip.samples.size - length + 1)))
        return replace(clip, samples=clip.samples[start : start + length].copy())


def _rng(seed: int, *names: object) -> np.random.Generator:
    text = "/".join(map(str, names)).encode()
    return np.random.default_rng([seed, *hashlib.sha256(text).digest()[:8]])


def drawn_geometry(rng: np.random.Generator) -> NeuralGenerator:
    """A small codec or vocoder: what it hears, how it makes samples of frames, sizes and rate are all drawn."""
    front = str(rng.choice(["wave", "wave", "mel"]))
    back = str(rng.choice(["staged", "staged", "stft", "nearest", "transposed"]))
    strides = STRIDES[int(rng.integers(len(STRIDES)))]
    staged = back in ("staged", "nearest")
    return NeuralGenerator(
        front=front,
        back=back,
        hop=int(np.prod(strides)) if staged else int(rng.choice([128, 160, 200, 240, 320])),
        latent=int(rng.choice([48, 64, 96])),
        width=int(rng.choice([96, 128, 160])),
        bands=int(rng.choice([64, 80, 100])),
        snake=bool(rng.random() < 0.5),
        strides=strides if staged else (),
        rate_hz=int(rng.choice([16_000, 16_000, 20_000, 22_050, 24_000])),
    )


def _drawn(source: _Source, recorded: Sequence[LabelledClip], sizes: MoreSizes, seed: int) -> Iterable[LabelledClip]:
    training = [clip.samples for clip in recorded if clip.split == "train"]
    for number in range(sizes.geometries):
        rng = _rng(seed, "geometry", number)
        network = train_generator(drawn_geometry(rng), training, seed=seed + number, steps=DRAWN_STEPS)
        for split, count in sizes.drawn.items():
            for clip in (source.draw(split, rng) for _ in range(count)):
                made = resynthesise(network, clip.samples)
                if rng.random() < 0.3:
                    share = float(rng.uniform(0.6, 0.9))
                    made = (share * made + (1.0 - share) * clip.samples).astype(np.float32)
                yield replace(clip, samples=made, generator="neural_drawn")


def _made(
    source: _Source,
    name: str,
    make: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    counts: Mapping[str, int],
    seed: int,
) -> Iterable[LabelledClip]:
    for split, count in counts.items():
        for number in range(count):
            rng = _rng(seed, name, split, number)
            clip = source.draw(split, rng)
            yield replace(clip, samples=make(clip.samples, rng), generator=name)


def _coded(source: _Source, count: int, seed: int) -> Iterable[LabelledClip]:
    """Genuine training clips through our own codec, at a drawn depth."""
    through = codecs({})[OWN_CODEC][1]
    for clip in _made(source, "bona_fide", through, {"train": count}, seed):
        yield replace(clip, condition=OWN_CODEC)


def _sentences(texts: Path) -> list[list[str]]:
    """Id and words of the training texts, five to twelve words each."""
    with gzip.open(texts / f"{TEXTS['train']}.tsv.gz", "rt", encoding="utf-8") as stream:
        rows = [line.rstrip("\n").split("\t")[:2] for line in stream]
    return [row for row in rows if len(row) == 2 and 5 <= len(row[1].split()) <= 12]


def _bent(source: _Source, texts: Path, name: str, sizes: tuple[int, int], seed: int) -> Iterable[LabelledClip]:
    """Recordings, or sentences of the training texts, through copies of one system with its weights moved."""
    sentences = _sentences(texts) if name in BENT_VOICES else []
    for number in range(sizes[0]):
        rng = _rng(seed, "bent", name, number)
        vocode = world_bent if name == "world" else bent_vocoder(rng) if name not in BENT_VOICES else None
        speak = bent_voice(name, rng) if name in BENT_VOICES else None
        for _ in range(sizes[1]):
            if vocode is not None:
                clip = source.draw("train", rng)
                yield replace(clip, samples=vocode(clip.samples, rng), generator=f"{name}_bent")
            elif speak is not None:
                sentence_id, text = sentences[int(rng.integers(len(sentences)))]
                samples = trimmed(speak(text, rng), rng)
                if samples is not None and np.isfinite(samples).all():
                    yield LabelledClip(
                        samples=samples,
                        generator=f"{name}_bent",
                        speaker_id=f"{name}-bent{number}",
                        utterance_id=f"text-{sentence_id}",
                        split="train",
                    )


def _mixed(texts: Path, count: int, seed: int) -> Iterable[LabelledClip]:
    """Sentences of the training texts in mixtures of Kokoro's training voices."""
    sentences = _sentences(texts)
    for number in range(count):
        rng = _rng(seed, "mixed", number)
        sentence_id, text = sentences[int(rng.integers(len(sentences)))]
        shares: dict[str, float] = dict(
            zip(KOKORO_VOICES, map(float, rng.dirichlet([0.6] * len(KOKORO_VOICES))), strict=True)
        )
        samples = trimmed(AudioClip(*speak_kokoro_mix(text, shares, rng)), rng)
        if samples is not None:
            yield LabelledClip(
                samples=samples,
                generator="kokoro",
                speaker_id=f"kokoro-mix{number % 16}",
                utterance_id=f"text-{sentence_id}",
                split="train",
            )


def drawn_often() -> dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]]:
    """What :class:`MoreSizes` may ask many clips of, by name; the chained vocoder only where its package is."""
    named = {"phase_rebuilt": phase_rebuilt, "tokens_drawn": tokens_drawn}
    named |= {"harmonics_drawn": harmonics_drawn, "rules_drawn": rules_drawn}
    return {**named, "hifigan_chained": hifigan_chained} if public_vocoders() else named


def more_clips(corpus: Path, cache: Path, sizes: MoreSizes, seed: int) -> list[LabelledClip]:
    """All of them, each part kept under ``cache``; what needs a package that is missing is left out."""
    recorded = _kept(cache / f"more-recorded-{seed}.safetensors", lambda: further_recordings(corpus, seed))
    source = _Source(recorded)
    parts: dict[str, Callable[[], Iterable[LabelledClip]]] = {
        name: lambda name=name, make=make: _made(source, name, make, sizes.imitated, seed)
        for name, make in IMITATIONS.items()
    }
    parts["neural_drawn"] = lambda: _drawn(source, recorded, sizes, seed)
    for name, make in public_vocoders().items():
        parts[name] = lambda name=name, make=make: _made(source, name, make, {"train": sizes.vocoded}, seed)
    if sizes.through_codec:
        parts[OWN_CODEC] = lambda: _coded(source, sizes.through_codec, seed)
    often = drawn_often()
    for name, count in sizes.many.items():
        if name in often:
            parts[name] = lambda name=name, count=count: _made(source, name, often[name], {"train": count}, seed)
    if installed("kokoro"):
        parts["kokoro"] = lambda: _mixed(corpus / "text", sizes.mixed, seed)
    for name, size in sizes.bent.items():
        if can_bend(name):
            parts[f"{name}_bent"] = lambda name=name, size=size: _bent(source, corpus / "text", name, size, seed)
    made = [_kept(cache / f"more-{name}-{seed}.safetensors", make) for name, make in parts.items()]
    return [clip for part in (recorded, *made) for clip in part]


def _kept(path: Path, make: Callable[[], Iterable[LabelledClip]]) -> list[LabelledClip]:
    if not path.exists():
        logger.info("making %s", path.name)
        save_clips(path, list(make()))
    return load_clips(path)
