"""Corpus folders as they are distributed: LibriSpeech and Libri-Light, VCTK, or any folder of audio.

Layouts: Panayotov et al. 2015 (``<speaker>/<chapter>/<id>.flac`` with one ``.trans.txt`` per chapter and
``SPEAKERS.TXT``), Kahn et al. 2020 (a ``.json`` with ``book_meta`` beside each file), Yamagishi et al. 2019 (``txt/``,
``wav48*/``, ``speaker-info.txt``).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from audiolm.audio import AUDIO_SUFFIXES
from evaluation.records import Utterance

__all__ = ["is_corpus_tree", "plain_utterance", "read_tree"]


@dataclass(frozen=True, slots=True)
class _Speakers:
    groups: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of(self, speaker: str) -> Mapping[str, str]:
        return MappingProxyType(dict(self.groups.get(speaker, {})))


def read_tree(root: Path) -> list[Utterance]:
    """Every audio file below ``root`` as an utterance, with what the layout tells: speaker, transcript, gender.

    Raises:
        ValueError: no audio file below ``root``, or a transcript file that is not UTF-8.
    """
    root = root.resolve()
    audio = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    if not audio:
        raise ValueError(f"{root}: holds no audio file ({', '.join(AUDIO_SUFFIXES)}); name a folder with recordings")
    transcripts = sorted(root.rglob("*.trans.txt"))
    if transcripts or _is_libri_light(audio[0]):
        return _librispeech(root, audio, transcripts)
    if (root / "txt").is_dir() and any(root.glob("wav48*")):
        return _vctk(root, [path for path in audio if path.relative_to(root).parts[0].startswith("wav48")])
    stems = Counter(path.with_suffix("") for path in audio)
    return [plain_utterance(root, path, stems[path.with_suffix("")] == 1) for path in audio]


def is_corpus_tree(root: Path) -> bool:
    """Whether a folder has one of the known layouts, which are read whole."""
    if (root / "txt").is_dir() and any(root.glob("wav48*")):
        return True
    if any(root.rglob("*.trans.txt")):
        return True
    first = next((path for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()), None)
    return first is not None and _is_libri_light(first)


def _is_libri_light(path: Path) -> bool:
    try:
        return "book_meta" in json.loads(path.with_suffix(".json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False


def _librispeech(root: Path, audio: Sequence[Path], transcript_files: Sequence[Path]) -> list[Utterance]:
    transcripts = {}
    for path in transcript_files:
        for line in _text(path).splitlines():
            name, _, words = line.strip().partition(" ")
            transcripts[name] = words.strip() or None
    speakers = _librispeech_speakers(root)
    utterances = []
    for path in audio:
        speaker = path.parent.parent.name if len(path.relative_to(root).parts) > 2 else path.stem.split("-")[0]
        utterances.append(
            Utterance(
                utterance_id=path.stem,
                audio_path=path,
                transcript=transcripts.get(path.stem),
                speaker_id=speaker,
                split=path.parents[2].name,
                groups=speakers.of(speaker),
                origin="human",
                licence="CC BY 4.0" if transcript_files else "",
            )
        )
    return utterances


def _librispeech_speakers(root: Path) -> _Speakers:
    """``SPEAKERS.TXT``: lines ``id | sex | subset | minutes | name``; ``;`` starts a comment."""
    groups = {}
    for folder in (root, *list(root.parents)[:2]):
        path = folder / "SPEAKERS.TXT"
        if not path.is_file():
            continue
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            fields = [part.strip() for part in line.split("|")]
            if not line.startswith(";") and len(fields) > 1 and fields[1] in ("F", "M"):
                groups[fields[0]] = {"gender": fields[1]}
        break
    return _Speakers(groups)


def _vctk(root: Path, audio: Sequence[Path]) -> list[Utterance]:
    """VCTK 0.92 keeps two microphones per sentence: the second is left out where the first is there."""
    names = {path.name for path in audio}
    speakers = _vctk_speakers(root / "speaker-info.txt")
    utterances = []
    for path in audio:
        if "_mic2" in path.name and path.name.replace("_mic2", "_mic1") in names:
            continue
        speaker = path.parent.name
        sentence = re.sub(r"_mic\d$", "", path.stem)
        utterances.append(
            Utterance(
                utterance_id=sentence,
                audio_path=path,
                transcript=_sidecar(root / "txt" / speaker / f"{sentence}.txt"),
                speaker_id=speaker,
                groups=speakers.of(speaker),
                origin="human",
                licence="CC BY 4.0",
            )
        )
    return utterances


def _vctk_speakers(path: Path) -> _Speakers:
    """``speaker-info.txt``: columns ID, AGE, GENDER, ACCENTS, REGION; ids may lack their ``p``."""
    if not path.is_file():
        return _Speakers()
    groups: dict[str, dict[str, str]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines()[1:]:
        fields = line.split()
        if len(fields) < 4:
            continue
        speaker, age, gender, accent = fields[:4]
        known = {"gender": gender, "accent": accent}
        if age.isdigit():
            known["age"] = f"{int(age) // 10 * 10}-{int(age) // 10 * 10 + 9}"
        groups[speaker] = known
        groups.setdefault(f"p{speaker}", known)
    return _Speakers(groups)


def plain_utterance(root: Path, path: Path, stem_is_unique: bool) -> Utterance:
    """A file of a folder without a known layout; named by its path, with its suffix where the stem is not unique."""
    name = path.relative_to(root)
    return Utterance(
        utterance_id=(name.with_suffix("") if stem_is_unique else name).as_posix(),
        audio_path=path,
        transcript=_sidecar(path.with_suffix(".normalized.txt")) or _sidecar(path.with_suffix(".txt")),
    )


def _sidecar(path: Path) -> str | None:
    return " ".join(_text(path).split()) or None if path.is_file() else None


def _text(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}, line {line}: byte 0x{data[error.start]:02x} is not UTF-8 text; save the file as UTF-8"
        ) from error
