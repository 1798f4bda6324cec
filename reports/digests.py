"""Digests of every artefact of a run folder in one file, and the check that nothing was changed since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from pydantic import ValidationError

from reports.schemas import DigestFile, FileDigest
from reports.whole_files import write_whole

__all__ = ["DIGESTS", "Difference", "file_digest", "verify_run", "write_digests"]

DIGESTS = "digests.json"
LEFT_OUT = {
    "work": "what is only needed to resume",
    DIGESTS: "a file cannot hold its own digest; keep its root elsewhere",
    ".lock": "marks a run in progress",
}
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Difference:
    """One file that is not as it was: ``what`` is ``changed``, ``missing`` or ``new``."""

    path: str
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what}: {self.path} ({self.detail})"


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def write_digests(folder: Path, run_id: str, generations: pd.DataFrame) -> Path:
    """``digests.json`` over all files but those that :data:`LEFT_OUT` names.

    A clip's digest is the one taken when it was made (``content_sha256``), so that a clip altered before the report was
    built is found as well; every other file is read now.
    """
    made = dict(zip(generations["audio_path"], generations["content_sha256"], strict=True))
    entries = []
    for name in sorted(_artefacts(folder)):
        recorded = str(made.get(name) or "")
        if len(recorded) == 64 and set(recorded) != {"0"}:
            entries.append(FileDigest(path=name, sha256=recorded, size=None, basis="generations.parquet"))
        else:
            path = folder / name
            entries.append(FileDigest(path=name, sha256=file_digest(path), size=path.stat().st_size, basis="file"))
    left_out = [f"{name}: {why}" for name, why in LEFT_OUT.items()]
    content = DigestFile(schema_version=1, run_id=run_id, root=_root(entries), left_out=left_out, files=entries)
    path = folder / DIGESTS
    write_whole(path, json.dumps(content.model_dump(), indent=0, ensure_ascii=True) + "\n")
    return path


def verify_run(folder: Path) -> tuple[DigestFile, list[Difference]]:
    """What is not as ``digests.json`` says, sorted by path; an empty list for an unchanged folder.

    Raises:
        ValueError: no digests, or a file of digests that is itself altered.
    """
    stored = _read(folder / DIGESTS)
    present = set(_artefacts(folder))
    known = {entry.path: entry for entry in stored.files}
    found = [Difference(name, "missing", "listed in digests.json") for name in sorted(set(known) - present)]
    found += [Difference(name, "new", "not listed in digests.json") for name in sorted(present - set(known))]
    shared = sorted(set(known) & present)
    with ThreadPoolExecutor() as pool:
        digests = pool.map(lambda name: file_digest(folder / name), shared)
        for name, digest in zip(shared, digests, strict=True):
            if digest != known[name].sha256:
                since = "the report was built" if known[name].basis == "file" else "the clip was made"
                detail = f"SHA-256 {digest[:12]}…, was {known[name].sha256[:12]}… when {since}"
                found.append(Difference(name, "changed", detail))
    return stored, sorted(found, key=lambda difference: (difference.path, difference.what))


def _artefacts(folder: Path) -> Iterator[str]:
    """Files of the run as paths relative to it, without links that leave it."""
    stack = [folder]
    while stack:
        for entry in sorted(stack.pop().iterdir()):
            name = PurePosixPath(entry.relative_to(folder)).as_posix()
            if name.split("/")[0] in LEFT_OUT or entry.name.startswith("."):
                continue
            if entry.is_dir() and not entry.is_symlink():
                stack.append(entry)
            elif entry.is_file():
                yield name


def _root(entries: Sequence[FileDigest]) -> str:
    lines = "".join(f"{entry.sha256}  {entry.path}\n" for entry in sorted(entries, key=lambda entry: entry.path))
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: Path) -> DigestFile:
    if not path.is_file():
        raise ValueError(f"{path}: missing, so nothing can be verified; build the report first (audiolm-audit report)")
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
        stored = DigestFile.model_validate(value)
    except (ValueError, RecursionError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise ValueError(f"{path}: is not a list of digests ({first}); it was altered or truncated") from error
    if _root(stored.files) != stored.root:
        raise ValueError(f"{path}: its lines do not give its root {stored.root[:12]}…; the list itself was altered")
    return stored
