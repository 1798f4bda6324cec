"""Samples of a tar in the layout of WebDataset: members that share a name up to the first dot stand together.

Audio is not read here, only where it lies: offset and size. Members that are no regular file are passed over.
"""

from __future__ import annotations

import contextlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from typing import IO, Any, cast

from audiolm.audio import AUDIO_SUFFIXES
from evaluation.at_size.storage import open_any

__all__ = ["AUDIO_PATH", "OFFSET", "SIZE", "TAR", "tar_rows"]

AUDIO_PATH, TAR, OFFSET, SIZE = "audio_path", "tar:address", "tar:offset", "tar:size"
MOST_TEXT_BYTES = 1 << 20
"""Of a sample's JSON or text member."""
MOST_HEADER_BYTES = 16 << 20
"""Of a member's extended header, which is read at once."""


class _SmallReads:
    """A stream that refuses to be read in one huge piece: a tar's extended header may declare any size."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes; at most {MOST_HEADER_BYTES:,} are read")
        return self._stream.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def tar_rows(address: str) -> Iterator[dict[str, str]]:
    """Columns of every sample with audio: those of its JSON member, ``transcript`` of its text member, and its place.

    Raises:
        ValueError: no tar, or a compressed one.
    """
    with contextlib.closing(open_any(address)) as stream:
        try:
            with tarfile.open(fileobj=cast("IO[bytes]", _SmallReads(stream)), mode="r:") as tar:
                yield from _samples(address, tar)
        except tarfile.TarError as error:
            raise ValueError(
                f"{address}: is not an uncompressed tar that can be read ({error}); pack it again with tar -cf"
            ) from error


def _samples(address: str, tar: tarfile.TarFile) -> Iterator[dict[str, str]]:
    key, fields = "", {}
    for member in tar:
        tar.members = []  # type: ignore[attr-defined]  # else it keeps one entry for every member it has seen
        if not member.isreg():
            continue
        folder, slash, name = member.name.rpartition("/")
        stem, _, extension = name.partition(".")
        if not stem:
            continue
        if folder + slash + stem != key:
            yield from _complete(fields)
            key, fields = folder + slash + stem, {}
        fields.update(_of_member(address, tar, member, key, extension.lower()))
    yield from _complete(fields)


def _complete(fields: Mapping[str, str]) -> Iterator[dict[str, str]]:
    if AUDIO_PATH in fields:
        yield dict(fields)


def _of_member(address: str, tar: tarfile.TarFile, member: tarfile.TarInfo, key: str, extension: str) -> dict[str, str]:
    if f".{extension}" in AUDIO_SUFFIXES:
        place = {TAR: address, OFFSET: str(member.offset_data), SIZE: str(member.size)}
        return {"utterance_id": key, AUDIO_PATH: f"{address}::{member.name}", **place}
    if extension not in ("json", "txt") or member.size > MOST_TEXT_BYTES:
        return {}
    content = tar.extractfile(member)
    text = content.read().decode("utf-8", "replace") if content else ""
    if extension == "txt":
        return {"transcript": " ".join(text.split())}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return _flat(value) if isinstance(value, dict) else {}


def _flat(value: Mapping[str, Any]) -> dict[str, str]:
    """Plain fields as text, without those that say where the sample lies."""
    own = ("utterance_id", AUDIO_PATH, TAR, OFFSET, SIZE, "id", "utt_id", "path", "audio_filepath")
    return {str(name): str(one).strip() for name, one in value.items()
            if isinstance(one, str | int | float) and name not in own}  # fmt: skip
