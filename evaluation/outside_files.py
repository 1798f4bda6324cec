"""Ready-made files of an outside system as a system under test: what it made of each prompt, by the prompt's id.

A folder holds one file per utterance, ``<utterance id>.wav`` (or .flac, .ogg, .mp3): a continuation. Folders
``codec``, ``acoustic``, ``continuation`` or ``unconditional`` inside it hold files of these roles instead. The files
are judged as they are: nothing is resampled or cut but what a measure says itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from audiolm.audio import AudioClip, AudioError
from evaluation.config import RENDERED_ROLES, digest_of
from evaluation.protocols import RenderRequest
from evaluation.records import Utterance
from evaluation.run_folder import audio_name

__all__ = ["FILES", "JOINED", "OutsideFiles", "OutsideFilesEntry", "refuse_foreign_names"]

FILES, JOINED = "files", "joined_files"
"""Names of the two systems: files that start after their prompt, and files that start with it."""
ENDINGS = (".wav", ".flac", ".ogg", ".mp3")
MAX_SECONDS = 120.0
RATE_HZ = 16_000
COPY_CORRELATION = 0.9
"""A clip whose start correlates so well with the prompt is the prompt: of two recordings, no sample agrees."""


class OutsideFiles:
    """The files of one folder as a :class:`evaluation.protocols.Generator`."""

    ready_made = True
    """Reading a file says nothing of what making it cost."""
    sample_rate_hz = RATE_HZ
    """Of the recordings it is shown; its clips keep their own rates."""

    def __init__(self, folder: Path, *, joined: bool) -> None:
        self._folder, self._joined = folder, joined
        self.name = folder.name
        inside = tuple(role for role in RENDERED_ROLES if (folder / role).is_dir())
        self._by_role = bool(inside)
        self.roles: tuple[str, ...] = inside or ("continuation",)

    def render(self, role: str, requests: Sequence[RenderRequest]) -> list[AudioClip]:
        """The file of each request's utterance; of a continuation what follows the prompt."""
        return [self._clip(role, request) for request in requests]

    def find(self, role: str, utterance_id: str) -> Path | None:
        """The file of an utterance, by its id or by the name that a run folder gives it."""
        folder = self._folder / role if self._by_role else self._folder
        names = [
            name + ending for name in dict.fromkeys((utterance_id, audio_name(utterance_id))) for ending in ENDINGS
        ]
        return next((folder / name for name in names if _is_file_in(folder, name)), None)

    def describe(self) -> Mapping[str, object]:
        """Name, kind and a digest of all files."""
        files = sorted(path for path in self._folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
        digests = [[path.relative_to(self._folder).as_posix(), sha256(path.read_bytes()).hexdigest()] for path in files]
        kind = "files of an outside system, by prompt" + (", each starting with its prompt" if self._joined else "")
        return {"name": self.name, "kind": kind, "files": len(files), "sha256": digest_of(digests)}

    def _clip(self, role: str, request: RenderRequest) -> AudioClip:
        path = self.find(role, request.utterance_id)
        if path is None:
            folder = self._folder / role if self._by_role else self._folder
            raise ValueError(f"{folder} holds no {request.utterance_id}.wav (nor .flac, .ogg, .mp3)")
        clip = AudioClip.from_file(path, duration_s=MAX_SECONDS)
        if role != "continuation":
            return clip
        if self._joined:
            if clip.duration_s <= request.prompt_s:
                raise AudioError(
                    f"{path}: lasts {clip.duration_s:.2f} s, no more than its prompt of {request.prompt_s:g} s;"
                    " it should hold the prompt and what follows"
                )
            return clip.cut(request.prompt_s)
        if _starts_with(clip, request):
            raise AudioError(f"{path}: starts with its prompt; say so with --joined, which cuts it off")
        return clip


@dataclass(frozen=True, slots=True)
class OutsideFilesEntry:
    """A plug-in: ``checkpoint`` is the folder."""

    name: str
    joined: bool

    def load(self, checkpoint: str, device: str) -> OutsideFiles:
        folder = Path(checkpoint).resolve()
        if not folder.is_dir():
            raise ValueError(f"{checkpoint}: no such folder; name one with a file per prompt, <utterance id>.wav")
        return OutsideFiles(folder, joined=self.joined)


def refuse_foreign_names(system: object, utterances: Sequence[Utterance]) -> None:
    """Refuse a folder of files whose names are none of the prompts', before anything is done.

    Raises:
        ValueError: not one prompt has a file.
    """
    if not isinstance(system, OutsideFiles) or not utterances:
        return
    if any(system.find(role, one.utterance_id) for role in system.roles for one in utterances):
        return
    first = utterances[0].utterance_id
    raise ValueError(
        f"{system.name}: no file is named after a prompt; with --prompts the files are found by utterance id, for"
        f" instance {first}.wav; without --prompts they are judged as they are"
    )


def _is_file_in(folder: Path, name: str) -> bool:
    """Whether an id is a plain file's name: none that leads elsewhere, is too long or no name at all."""
    try:
        return "/" not in name and "\0" not in name and (folder / name).is_file()
    except OSError:
        return False


def _starts_with(clip: AudioClip, request: RenderRequest) -> bool:
    prompt = request.recording.cut(0.0, request.prompt_s).samples
    start = clip.at_rate(RATE_HZ).samples[: len(prompt)]
    if len(start) < len(prompt):
        return False
    power = float(np.sqrt(np.square(prompt).sum(dtype=np.float64) * np.square(start).sum(dtype=np.float64)))
    return power > 0.0 and abs(float(np.dot(prompt, start))) > COPY_CORRELATION * power
