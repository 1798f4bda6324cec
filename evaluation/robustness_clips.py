"""Labelled clips for a robustness card: from a protocol and its audio, or made from the test speakers of a corpus."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from audiolm.audio import AUDIO_SUFFIXES, AudioClip, AudioError
from detectors.labelled import BONA_FIDE, LabelledClip
from evaluation.detection_trials import Trial, read_protocol
from evaluation.detector_data import generated_clips
from evaluation.detector_synthesis import VOCODERS
from evaluation.detector_vocoders import further_vocoders
from evaluation.detector_voices import installed_voices, speak
from evaluation.manifest import read_utterances

__all__ = ["clips_of_corpus", "clips_of_protocol", "files_of_protocol", "in_turn"]

RATE_HZ = 16_000
LONGEST_S, SHORTEST_S = 8.0, 2.5
TEST_TEXTS = "librispeech_test-other.tsv.gz"


def _rng(seed: int, *names: str) -> np.random.Generator:
    return np.random.default_rng([seed, *hashlib.sha256("/".join(names).encode()).digest()[:8]])


def _samples(path: Path) -> np.ndarray:
    """The first 8 s of a file at 16 kHz."""
    return AudioClip.from_file(path, duration_s=LONGEST_S).at_rate(RATE_HZ).samples


def in_turn(clips: Sequence[LabelledClip], count: int) -> list[LabelledClip]:
    """``count`` clips, or all: generators, then speakers, take turns, in an order that depends on the names only."""
    ordered = sorted(clips, key=lambda clip: hashlib.sha256(clip.utterance_id.encode()).digest())
    rank: dict[tuple[str, str], int] = {}
    by_generator: dict[str, list[tuple[int, LabelledClip]]] = {}
    for clip in ordered:
        key = (clip.generator, clip.speaker_id)
        rank[key] = rank.get(key, -1) + 1
        by_generator.setdefault(clip.generator, []).append((rank[key], clip))
    queues = [[clip for _, clip in sorted(rows, key=lambda row: row[0])] for _, rows in sorted(by_generator.items())]
    turns = [
        queue[place] for place in range(max(map(len, queues), default=0)) for queue in queues if place < len(queue)
    ]
    return turns[:count]


def files_of_protocol(protocol: Path, audio: Path) -> list[tuple[Path, Trial]]:
    """The trials of any protocol that ``detect-eval`` reads, each with its file: the trial's name below ``audio``.

    Raises:
        ValueError: a file is not there, or ``audio`` is no folder.
    """
    if not audio.is_dir():
        raise ValueError(f"{audio}: is no folder; name the one below which the files of {protocol} lie")
    known = {path.stem: path for path in sorted(audio.rglob("*")) if path.suffix.lower() in AUDIO_SUFFIXES}
    found = []
    for trial in read_protocol(protocol):
        named = audio / (trial.path or trial.name)
        path = named if named.is_file() else known.get(Path(trial.name).stem) or known.get(Path(trial.name).name)
        if path is None:
            raise ValueError(f"{protocol}: trial {trial.name!r} has no audio file below {audio}; name the right folder")
        found.append((path, trial))
    return found


def clips_of_protocol(protocol: Path, audio: Path) -> list[LabelledClip]:
    """The first 8 s of each file of :func:`files_of_protocol`.

    Raises:
        ValueError: one class is missing, or a file is not there or no audio.
    """
    clips = []
    for path, trial in files_of_protocol(protocol, audio):
        clips.append(
            LabelledClip(
                samples=_samples(path),
                generator=BONA_FIDE if trial.is_bona_fide else trial.attack,
                speaker_id=trial.speaker_id or trial.name,
                utterance_id=trial.name,
                split="test",
                condition=trial.codec or "raw",
            )
        )
    if len({clip.is_bona_fide for clip in clips}) < 2:
        raise ValueError(f"{protocol}: holds one class only; a card needs bona fide and synthetic trials")
    return clips


def clips_of_corpus(
    corpus: Path, per_generator: int, seed: int, generations: Sequence[Path] = ()
) -> list[LabelledClip]:
    """Recordings of the manifest's test speakers; the same through every signal-processing vocoder; test voices.

    ``generations``: run folders of our own model, of which clips made from test speakers are taken.
    """
    rows = [row for row in read_utterances(corpus / "manifest.csv", split="test") if not row.problem]
    human = [
        LabelledClip(
            samples=_samples(row.audio_path),
            generator=BONA_FIDE,
            speaker_id=row.speaker_id,
            utterance_id=row.utterance_id,
            split="test",
        )
        for row in rows
        if (row.duration_s or 0.0) >= SHORTEST_S
    ]
    if not human:
        raise ValueError(f"{corpus}: its manifest holds no recording of split test of {SHORTEST_S} s; nothing to judge")
    made = [*_vocoded(human, per_generator, seed), *_spoken(corpus, per_generator, seed)]
    splits: Mapping[str, str] = {clip.utterance_id: "test" for clip in human}
    own = [clip for folder in generations for clip in generated_clips(folder, dict(splits), seed)]
    return [*human, *made, *(clip for clip in own if clip.samples.size >= SHORTEST_S * RATE_HZ)]


def _vocoded(human: Sequence[LabelledClip], count: int, seed: int) -> Iterator[LabelledClip]:
    for name, vocoder in {**VOCODERS, **further_vocoders()}.items():
        order = _rng(seed, "vocoded", name).permutation(len(human))[:count]
        for clip in (human[index] for index in order):
            samples = vocoder(clip.samples, _rng(seed, name, clip.utterance_id))
            yield replace(
                clip, samples=samples.astype(np.float32), generator=name, utterance_id=f"{name}-{clip.utterance_id}"
            )


def _spoken(corpus: Path, count: int, seed: int) -> Iterator[LabelledClip]:
    with gzip.open(corpus / "text" / TEST_TEXTS, "rt", encoding="utf-8") as stream:
        sentences = [line.rstrip("\n").split("\t")[:2] for line in stream]
    sentences = [row for row in sentences if len(row) == 2 and 8 <= len(row[1].split()) <= 20]
    voices = [voice for voice in installed_voices() if voice.split == "test"]
    for program in sorted({voice.program for voice in voices}):
        members = [voice for voice in voices if voice.program == program]
        order = _rng(seed, "spoken", program).permutation(len(sentences))[:count]
        for place, (name, text) in enumerate(sentences[index] for index in order):
            voice = members[place % len(members)]
            try:
                samples = speak(voice, text).at_rate(RATE_HZ).samples[: int(LONGEST_S * RATE_HZ)]
            except (ValueError, AudioError):
                continue
            yield LabelledClip(
                samples=samples,
                generator=program,
                speaker_id=f"{program}-{voice.name}",
                utterance_id=f"{program}-{name}",
                split="test",
            )
