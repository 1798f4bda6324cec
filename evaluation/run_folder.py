"""Paths inside a run folder, and ``run.json``: what the run was asked to do, with what, and how it went."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from evaluation.config import RunConfig
from evaluation.run_lock import LOCK_NAME
from evaluation.whole_files import write_whole

__all__ = ["RUN_SCHEMA_VERSION", "RunFolder", "audio_name", "write_json"]

RUN_SCHEMA_VERSION = 1
MAX_NAME_CHARACTERS = 120


class RunFolder:
    """A run folder at ``path``; every file name of the contract stands here once."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def run_json(self) -> Path:
        return self.path / "run.json"

    @property
    def generations(self) -> Path:
        return self.path / "generations.parquet"

    @property
    def scores(self) -> Path:
        return self.path / "scores.parquet"

    @property
    def transcripts(self) -> Path:
        return self.path / "transcripts.parquet"

    @property
    def measures(self) -> Path:
        return self.path / "measures.json"

    @property
    def summary(self) -> Path:
        return self.path / "summary.parquet"

    @property
    def curves(self) -> Path:
        return self.path / "curves.json"

    @property
    def audio(self) -> Path:
        return self.path / "audio"

    def work(self, *parts: str) -> Path:
        """A folder for what is only needed to resume, made where it is missing."""
        path = self.path.joinpath("work", *parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def refuse_taken(self, *, resume: bool) -> None:
        """Refuse a folder with something in it, unless it is a run and ``resume`` is asked for.

        Raises:
            ValueError: the path is a file, cannot be read, or holds something already.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path}: is a file; name a folder for the run")
        if not self.path.exists():
            return
        try:
            inside = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(LOCK_NAME)]
        except OSError as error:
            raise ValueError(f"{self.path}: cannot be used as a run folder ({error.strerror}); name another") from error
        inside = [name for name in inside if not re.fullmatch(r"\.run\.json\.\d+\.tmp", name)]
        if inside and not resume:
            raise ValueError(f"{self.path}: is not empty; name a new folder, or continue that run with --resume")
        if inside and not self.run_json.is_file():
            raise ValueError(f"{self.path}: is not empty and holds no run.json, so no run to resume; name a new folder")

    def read(self) -> dict:
        """``run.json``; empty where there is none.

        Raises:
            ValueError: it is not JSON, or of another schema version.
        """
        if not self.run_json.is_file():
            return {}
        try:
            value = json.loads(self.run_json.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{self.run_json}: is not JSON ({error}); start the run in a new folder") from error
        version = value.get("schema_version") if isinstance(value, dict) else None
        if version != RUN_SCHEMA_VERSION:
            raise ValueError(f"{self.run_json}: schema version {version}, this version reads {RUN_SCHEMA_VERSION}")
        return value

    def require(self) -> dict:
        """``run.json`` of a folder that must be a run."""
        value = self.read()
        if not value:
            raise ValueError(f"{self.path}: holds no run.json; name the folder that audit or generate wrote")
        return value

    def update(self, **sections: object) -> dict:
        """Replace sections of ``run.json``."""
        value = self.read() | sections
        write_json(self.run_json, value)
        return value

    def refuse_other_config(self, config: RunConfig, fixed: Mapping[str, object]) -> None:
        """On resume: the stored options and inputs must be those asked for now.

        Raises:
            ValueError: names each option that differs, with both values.
        """
        stored = self.read()
        before = dict(stored.get("config", {})) | dict(stored.get("fixed", {}))
        now = json.loads(json.dumps(config.as_dict() | dict(fixed), default=str))
        differing = [name for name in sorted(now) if before.get(name) != now[name]]
        if stored and differing:
            listed = "; ".join(f"{name} was {before.get(name)!r} and is now {now[name]!r}" for name in differing)
            raise ValueError(f"{self.path}: cannot be resumed, {listed}; use a new folder or the same options")


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically, sorted and indented; NaN is refused because other readers cannot take it."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, text.encode("utf-8", "backslashreplace"))  # half a character becomes JSON's own escape for it


def audio_name(utterance_id: str) -> str:
    """A file name for an utterance: its id where that is safe, else a cleaned id with a digest against clashes."""
    clean = re.sub(r"[^A-Za-z0-9._-]+", "_", utterance_id)[:MAX_NAME_CHARACTERS]
    if clean == utterance_id and not clean.startswith("."):
        return clean
    return f"{clean.lstrip('.') or 'utterance'}-{sha256(utterance_id.encode()).hexdigest()[:8]}"
