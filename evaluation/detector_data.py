"""The labelled speech a detector is trained and tested on: recordings, channels, vocoders, voices, generations.

Both classes meet the same chain: read, resampled to 16 kHz, trimmed to speech, cut to at most 5 s at a random
place, kept as 16 bit. Splits are by speaker (by voice for text-to-speech): ``test`` is the manifest's test split and
is used for nothing but final numbers; ``held`` is its dev split and a sixth of the training speakers.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from audiolm.audio import AudioClip, AudioError, read_provenance
from detectors.channels import through_channel
from detectors.labelled import BONA_FIDE, LabelledClip, load_clips, save_clips
from detectors.preparation import active_frames, speech_span
from evaluation.detector_neural import NEURAL_GENERATORS, resynthesise, train_generator
from evaluation.detector_synthesis import VOCODERS
from evaluation.detector_vocoders import further_vocoders
from evaluation.detector_voices import Voice, installed_voices, speak
from evaluation.frames import read_generations
from evaluation.manifest import read_utterances
from evaluation.records import Utterance

__all__ = [
    "TEXTS",
    "DataSizes",
    "build_clips",
    "further_recordings",
    "generated_clips",
    "mode_clips",
    "noise_recordings",
    "trimmed",
]

logger = logging.getLogger(__name__)
Resynthesiser = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""A recording's samples, float32 ``[time]`` at 16 kHz, to as many synthetic ones; random choices by the generator."""
RATE_HZ = 16_000
LONGEST_S, SHORTEST_S = 5.0, 1.2
HELD_SHARE = 1 / 6
GENERATED_ROLES = {"codec": BONA_FIDE, "acoustic": "own_acoustic", "continuation": "own_continuation"}
OWN_CODEC = "own_codec"
TEXTS = {"train": "librispeech_train-clean-100", "held": "librispeech_dev-clean", "test": "librispeech_test-other"}
TEST_CHANNELS = ("mp3", "telephone")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSizes:
    """Clips per vocoder, per text-to-speech program, and per further vocoder, codec or neural generator, by split.

    ``more``: how many times as many training clips of some, by name.
    """

    per_vocoder: dict[str, int]
    per_program: dict[str, int]
    per_resynthesiser: dict[str, int] = field(default_factory=dict)
    more: dict[str, int] = field(default_factory=dict)

    def of(self, counts: Mapping[str, int], name: str) -> dict[str, int]:
        """``counts`` by split for generator ``name``."""
        return {split: count * (self.more.get(name, 1) if split == "train" else 1) for split, count in counts.items()}

    @classmethod
    def usual(cls, share: float = 1.0) -> DataSizes:
        """What the shipped detector is trained with, or a ``share`` of it."""
        per_vocoder, per_program = {"train": 160, "held": 40, "test": 50}, {"train": 120, "held": 36, "test": 40}
        per_resynthesiser = {"train": 100, "held": 24, "test": 30}
        return cls(
            per_vocoder={split: round(share * count) for split, count in per_vocoder.items()},
            per_program={split: round(share * count) for split, count in per_program.items()},
            per_resynthesiser={split: round(share * count) for split, count in per_resynthesiser.items()},
        )


def build_clips(
    corpus: Path,
    cache: Path,
    sizes: DataSizes,
    seed: int,
    generations: Sequence[Path] = (),
    codecs: Mapping[str, tuple[str, Resynthesiser]] = MappingProxyType({}),
    *,
    sent: bool = True,
) -> list[LabelledClip]:
    """All clips of all splits; where ``sent``, copies through channels too.

    Parts that take long are kept under ``cache`` and read back on the next call.

    ``corpus``: folder with ``manifest.csv`` and ``text/``; ``generations``: run folders with our own model's output;
    ``codecs``: neural codecs by name, each with a digest of its weights; the one called ``own_codec`` is ours, through
    which recordings stay bona fide, while speech through any other counts as synthetic.
    """
    utterances = _usable(read_utterances(corpus / "manifest.csv"))
    recorded = _cached(cache / f"recorded-{seed}.safetensors", lambda: list(_recorded(utterances, seed)))
    name = f"{seed}-" + "-".join(str(count) for count in sizes.per_vocoder.values())
    vocoded = _cached(cache / f"vocoded-{name}.safetensors", lambda: list(_vocoded(recorded, sizes.per_vocoder, seed)))
    name = "-".join([str(seed), _numbers(sizes.per_program), *map(str, sizes.more.values())])
    spoken = _cached(cache / f"spoken-{name}.safetensors", lambda: list(_spoken(corpus / "text", sizes, seed)))
    splits = {clip.utterance_id: clip.split for clip in recorded}
    own = [clip for folder in generations for clip in generated_clips(folder, splits, seed)]
    base = [*recorded, *vocoded, *spoken]
    parts = [base, *_resynthesised(recorded, cache, sizes, seed, codecs), own]
    return [clip for part in parts for clip in (*part, *(_sent(part, cache, seed) if sent else ()))]


def further_recordings(corpus: Path, seed: int) -> list[LabelledClip]:
    """The recordings once more, with another ``seed`` other stretches of them."""
    return list(_recorded(_usable(read_utterances(corpus / "manifest.csv")), seed))


def _resynthesised(
    recorded: Sequence[LabelledClip],
    cache: Path,
    sizes: DataSizes,
    seed: int,
    codecs: Mapping[str, tuple[str, Resynthesiser]],
) -> list[list[LabelledClip]]:
    """One part per further vocoder, neural generator of :mod:`evaluation.detector_neural`, and codec."""
    makers: dict[str, tuple[str, Callable[[], Resynthesiser]]] = {
        name: ("", lambda vocoder=vocoder: vocoder) for name, vocoder in further_vocoders().items()
    }
    training = [clip.samples for clip in recorded if clip.split == "train"]
    for name in NEURAL_GENERATORS:
        makers[name] = ("", partial(_neural, name, training, seed))
    for name, (digest, codec) in codecs.items():
        makers[name] = (f"-{digest[:12]}", lambda codec=codec: codec)
    counts = {name: sizes.of(sizes.per_resynthesiser, name) for name in makers}
    return [
        _cached(
            cache / f"{name}{tag}-{seed}-{_numbers(counts[name])}.safetensors",
            lambda name=name, make=make: list(_through(recorded, name, make(), counts[name], seed)),
        )
        for name, (tag, make) in makers.items()
    ]


def _numbers(counts: Mapping[str, int]) -> str:
    return "-".join(str(count) for count in counts.values())


def _neural(name: str, training: Sequence[np.ndarray], seed: int) -> Resynthesiser:
    network = train_generator(NEURAL_GENERATORS[name], training, seed=seed)
    return lambda samples, rng: resynthesise(network, samples)


def _through(
    recorded: Sequence[LabelledClip], name: str, resynthesiser: Resynthesiser, counts: Mapping[str, int], seed: int
) -> Iterable[LabelledClip]:
    for split, count in counts.items():
        sources = [clip for clip in recorded if clip.split == split]
        order = _rng(seed, "resynthesised", split, name).permutation(len(sources))[:count]
        for clip in (sources[index] for index in order):
            samples = resynthesiser(clip.samples, _rng(seed, name, clip.utterance_id))
            if name == OWN_CODEC:
                yield replace(clip, samples=samples, condition=OWN_CODEC)
            else:
                yield replace(clip, samples=samples, generator=name)


def _sent(clips: Sequence[LabelledClip], cache: Path, seed: int) -> list[LabelledClip]:
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(clip.utterance_id.encode() + clip.samples.tobytes())
    path = cache / f"channels-{seed}-{digest.hexdigest()[:12]}.safetensors"
    return _cached(path, lambda: list(_channelled(clips, seed)))


def _cached(path: Path, make: Callable[[], list[LabelledClip]]) -> list[LabelledClip]:
    if not path.exists():
        logger.info("making %s", path.name)
        save_clips(path, make())
    clips = load_clips(path)
    logger.info("%s: %d clips", path.name, len(clips))
    return clips


def _digest_share(text: str) -> float:
    """A fixed pseudo-random number in [0, 1) for a name."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") / 2.0**64


def _rng(seed: int, *names: str) -> np.random.Generator:
    return np.random.default_rng([seed, *hashlib.sha256("/".join(names).encode()).digest()[:8]])


def split_of(utterance: Utterance) -> str:
    """``train``, ``held`` or ``test``, or "" for speech that is not to be used (audit-only splits)."""
    if utterance.split == "train":
        anonymous = not utterance.speaker_id
        return "train" if anonymous or _digest_share(f"held/{utterance.speaker_id}") >= HELD_SHARE else "held"
    return {"dev": "held", "test": "test"}.get(utterance.split, "")


def _usable(utterances: Iterable[Utterance]) -> list[Utterance]:
    return [
        utterance
        for utterance in utterances
        if not utterance.problem and split_of(utterance) and (utterance.duration_s or 0.0) >= SHORTEST_S
    ]


def trimmed(clip: AudioClip, rng: np.random.Generator) -> np.ndarray | None:
    """Up to 5 s of speech at 16 kHz from a random place; None where there is too little."""
    samples = clip.at_rate(RATE_HZ).samples
    first, past = speech_span(active_frames(samples))
    samples, longest = samples[first:past], int(LONGEST_S * RATE_HZ)
    if samples.size < SHORTEST_S * RATE_HZ:
        return None
    start = int(rng.integers(max(1, samples.size - longest + 1)))
    return samples[start : start + longest].copy()  # not a view, which would keep the whole recording in memory


def _recorded(utterances: Sequence[Utterance], seed: int) -> Iterable[LabelledClip]:
    for utterance in utterances:
        samples = trimmed(AudioClip.from_file(utterance.audio_path), _rng(seed, "crop", utterance.utterance_id))
        if samples is not None:
            yield LabelledClip(
                samples=samples,
                generator=BONA_FIDE,
                speaker_id=utterance.speaker_id or f"unknown-{utterance.utterance_id.split('-')[1]}",
                utterance_id=utterance.utterance_id,
                split=split_of(utterance),
            )


def _vocoded(recorded: Sequence[LabelledClip], counts: dict[str, int], seed: int) -> Iterable[LabelledClip]:
    for split, count in counts.items():
        sources = [clip for clip in recorded if clip.split == split]
        for name, vocoder in VOCODERS.items():
            order = _rng(seed, "vocoded", split, name).permutation(len(sources))[:count]
            for clip in (sources[index] for index in order):
                samples = vocoder(clip.samples, _rng(seed, name, clip.utterance_id))
                yield replace(clip, samples=samples, generator=name)


def _spoken(texts: Path, sizes: DataSizes, seed: int) -> Iterable[LabelledClip]:
    voices = installed_voices()
    for split in sizes.per_program:
        path = texts / f"{TEXTS[split]}.tsv.gz"
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            sentences = [line.rstrip("\n").split("\t")[:2] for line in stream]
        sentences = [row for row in sentences if len(row) == 2 and 5 <= len(row[1].split()) <= 20]
        by_program: dict[str, list[Voice]] = {}
        for voice in voices:
            if voice.split == split:
                by_program.setdefault(voice.program, []).append(voice)
        for program, members in by_program.items():
            count = sizes.of(sizes.per_program, program)[split]
            order = _rng(seed, "spoken", split, program).permutation(len(sentences))[:count]
            for position, (sentence_id, text) in enumerate(sentences[index] for index in order):
                yield from _one_sentence(members[position % len(members)], sentence_id, text, split, seed)


def _one_sentence(voice: Voice, sentence_id: str, text: str, split: str, seed: int) -> Iterable[LabelledClip]:
    try:
        clip = speak(voice, text)
    except ValueError as error:
        logger.warning("left out: %s", error)
        return
    samples = trimmed(clip, _rng(seed, voice.program, voice.name, sentence_id))
    if samples is not None:
        yield LabelledClip(
            samples=samples,
            generator=voice.program,
            speaker_id=f"{voice.program}-{voice.name}",
            utterance_id=f"text-{sentence_id}",
            split=split,
        )


def generated_clips(folder: Path, splits: dict[str, str], seed: int) -> Iterable[LabelledClip]:
    """Our own model's clips from a run folder: ``codec`` is bona fide, ``acoustic`` and ``continuation`` synthetic.

    ``splits``: split by utterance id; only items made from those human recordings are taken, so a clip has the split
    of the speaker it was made from.
    """
    for record in read_generations(folder / "generations.parquet"):
        generator = GENERATED_ROLES.get(record.role)
        split = splits.get(record.utterance_id, "")
        if generator is None or not split or record.status != "ok" or record.origin != "human":
            continue
        try:
            clip = AudioClip.from_file(folder / record.audio_path)
        except AudioError as error:
            logger.warning("left out: %s", error)
            continue
        samples = trimmed(clip, _rng(seed, record.role, str(record.seed), record.utterance_id))
        if samples is not None:
            yield LabelledClip(
                samples=samples,
                generator=generator,
                speaker_id=record.speaker_id,
                utterance_id=record.utterance_id,
                split=split,
                condition=OWN_CODEC if generator == BONA_FIDE else "raw",
            )


def mode_clips(folder: Path, recorded: Sequence[LabelledClip], seed: int) -> Iterable[LabelledClip]:
    """Our own model's clips from a folder that ``generate --mode`` wrote, by the tags in the files.

    ``recorded``: the genuine clips; a generated one has speaker and split of the recording it was made from.
    """
    sources = {clip.utterance_id: clip for clip in recorded}
    for path in sorted(folder.glob("*.wav")):
        tag = read_provenance(path) or {}
        generator = GENERATED_ROLES.get(str(tag.get("role")), BONA_FIDE)
        source = sources.get(str(tag.get("utterance_id")))
        if generator == BONA_FIDE or source is None:
            continue
        samples = trimmed(AudioClip.from_file(path), _rng(seed, path.parent.name, path.name))
        if samples is not None:
            yield replace(source, samples=samples, generator=generator, condition="raw")


def _channelled(clips: Sequence[LabelledClip], seed: int) -> Iterable[LabelledClip]:
    """A second copy of every third training clip and, for the other splits, of every clip, through channels.

    The draw does not look at the class. Held and test clips go through each of ``TEST_CHANNELS``.
    """
    drawn = ("mp3", "vorbis", "opus", "mu_law", "telephone", "low_pass")
    for clip in clips:
        if clip.condition != "raw":
            continue
        name = f"{clip.generator}/{clip.speaker_id}/{clip.utterance_id}"
        if clip.split == "train":
            share = _digest_share(f"{seed}/{name}")
            channels: tuple[str, ...] = (drawn[int(share * 3 * len(drawn))],) if share < 1 / 3 else ()
        else:
            channels = TEST_CHANNELS
        for channel in channels:
            yield replace(
                clip, samples=through_channel(clip.samples, channel, _rng(seed, channel, name)), condition=channel
            )


def noise_recordings(corpus: Path) -> list[np.ndarray]:
    """Background recordings of the corpus to mix into training windows, float32 at 16 kHz."""
    rows = read_utterances(corpus / "manifest.csv", kind="noise")
    return [AudioClip.from_file(row.audio_path).at_rate(RATE_HZ).samples for row in rows if not row.problem]
