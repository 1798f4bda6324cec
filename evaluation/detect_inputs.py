"""What ``detect`` is pointed at: files, folders, patterns, standard input; and what is wrong with what is no audio."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from audiolm.audio import AUDIO_SUFFIXES

__all__ = ["STANDARD_INPUT", "audio_files", "readable_path", "what_it_is"]

STANDARD_INPUT = "-"
TRANSPORT_PACKET = 188
SOUND_OUT = "take its sound out first: ffmpeg -i FILE sound.wav"
CONVERT = "convert it first: ffmpeg -i FILE sound.wav"
UNPACK = "unpack it and name the audio in it"
KINDS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x05\x06", "an empty ZIP archive; name audio files"),
    (0, b"\x1f\x8b", f"a gzip file; {UNPACK}"),
    (0, b"BZh", f"a bzip2 file; {UNPACK}"),
    (0, b"\xfd7zXZ", f"an xz file; {UNPACK}"),
    (0, b"Rar!", f"a RAR archive; {UNPACK}"),
    (0, b"7z\xbc\xaf", f"a 7z archive; {UNPACK}"),
    (257, b"ustar", f"a tar archive; {UNPACK}"),
    (4, b"ftyp", f"an MPEG-4 container (video, M4A or AAC); {SOUND_OUT}"),
    (4, b"moov", f"a QuickTime container; {SOUND_OUT}"),
    (0, b"\x1aE\xdf\xa3", f"a Matroska or WebM container; {SOUND_OUT}"),
    (8, b"AVI ", f"an AVI video; {SOUND_OUT}"),
    (0, b"FLV", f"a Flash video; {SOUND_OUT}"),
    (0, b"\0\0\x01\xba", f"an MPEG video; {SOUND_OUT}"),
    (188, b"G", f"an MPEG transport stream (video); {SOUND_OUT}"),
    (0, b"0&\xb2u", f"Windows Media (WMA or WMV); {SOUND_OUT}"),
    (0, b".RMF", f"RealMedia; {SOUND_OUT}"),
    (0, b"#!AMR", f"AMR audio, which is not read here; {CONVERT}"),
    (0, b"\xff\xf1", f"AAC audio, which is not read here; {CONVERT}"),
    (0, b"\xff\xf9", f"AAC audio, which is not read here; {CONVERT}"),
    (0, b"\x0bw", f"AC-3 audio, which is not read here; {CONVERT}"),
    (0, b"wvpk", f"WavPack audio, which is not read here; {CONVERT}"),
    (0, b"MThd", "a MIDI file: notes, no sound"),
    (0, b"%PDF", "a PDF document; name audio files"),
    (0, b"\x89PNG", "a picture; name audio files"),
    (0, b"\xff\xd8\xff", "a picture; name audio files"),
    (0, b"GIF8", "a picture; name audio files"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the audio itself; fetch it: git lfs pull"),
)
"""``(place, first bytes there, what it is and what to do)``; a transport stream also begins with its mark."""


def audio_files(given: Sequence[str]) -> Iterator[Path]:
    """The named files as they are; the audio files below named folders and among those a pattern finds, each once.

    Folders are walked in order as the files are asked for, so that one with millions is never held in memory.

    Raises:
        ValueError: nothing but folders and patterns was named, and they hold no audio.
    """
    named: set[Path] = set()
    folders: list[Path] = []
    found = False
    for text in given:
        path = Path(text)
        is_pattern = not path.is_dir() and glob.has_magic(text) and not path.exists()
        if text == STANDARD_INPUT or not (path.is_dir() or is_pattern):
            candidates: Iterable[Path] = [path]
        else:
            candidates = filter(_is_audio, sorted(map(Path, glob.glob(text, recursive=True))) if is_pattern
                                else _below(path))  # fmt: skip
        for one in candidates:
            if one not in named and not any(folder in one.parents for folder in folders):
                found = True
                yield one
                if not path.is_dir():
                    named.add(one)
        if path.is_dir():
            folders.append(path)
    if not found:
        raise ValueError(
            f"{', '.join(given)}: holds no audio file ({', '.join(AUDIO_SUFFIXES)}); name files, folders or patterns"
        )


def _below(folder: Path) -> Iterator[Path]:
    """Everything below a folder, in the order of sorted paths; links to folders are not followed."""
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    for entry in inside:
        if entry.is_dir(follow_symlinks=False):
            yield from _below(folder / entry.name)
        else:
            yield folder / entry.name


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith(".") and path.is_file()


@contextlib.contextmanager
def readable_path(path: Path) -> Iterator[Path]:
    """The file itself; for standard input, a copy of it on disk (never all of it in memory), gone afterwards."""
    if str(path) != STANDARD_INPUT:
        yield path
        return
    with tempfile.NamedTemporaryFile(prefix="detect-", suffix=".audio") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy, 1 << 20)
        copy.flush()
        yield Path(copy.name)


def what_it_is(path: Path) -> str:
    """What a file that cannot be read as audio is, by its first bytes, and what to do; "" where that is not known."""
    try:
        with path.open("rb") as stream:
            start = stream.read(512)
    except OSError:
        return ""
    if start.startswith(b"PK\x03\x04"):
        locked = len(start) > 6 and start[6] & 1
        return (
            "an encrypted ZIP archive; unpack it with its password and name the audio in it"
            if locked
            else (f"a ZIP archive; {UNPACK}")
        )
    for offset, mark, kind in KINDS:
        if start[offset:].startswith(mark) and (offset != TRANSPORT_PACKET or start.startswith(mark)):
            return kind
    if start.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, perhaps an error page saved in place of the recording; download it again"
    if start and not any(start):
        return "filled with zero bytes, as an unfinished download or copy is; fetch it again"
    return ""
