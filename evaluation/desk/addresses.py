"""Everything the desk hands out, laid down before the first request: address to file and media type."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.run_folder import RunFolder

__all__ = ["Resource", "lay_down"]

TYPES = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".wav": "audio/wav", ".flac": "audio/flac", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg",
    ".mp3": "audio/mpeg", ".aiff": "audio/aiff", ".aif": "audio/aiff",
}  # fmt: skip
PAGE = {"": "desk.html", "desk.css": "desk.css", "desk.js": "desk.js"}


@dataclass(frozen=True, slots=True)
class Resource:
    """A file of the run, or content held in memory."""

    media_type: str
    path: Path | None = None
    content: bytes = b""


def lay_down(run_folder: str | Path) -> dict[str, Resource]:
    """Addresses below the token: the desk's own page, the report, and each clip that the run's table names.

    A clip outside the run folder, through a link or ``..``, is left out.

    Raises:
        ValueError: no run folder, or its report was never built.
    """
    run = RunFolder(run_folder)
    run.require()
    report = run.path / "report.html"
    if not report.is_file():
        raise ValueError(f"{report}: missing; build the report first (audiolm-audit report {run.path})")
    page = resources.files("evaluation.desk") / "page"
    found = {
        address: Resource(TYPES[Path(name).suffix], content=(page / name).read_bytes())
        for address, name in PAGE.items()
    }
    found["report.html"] = Resource(TYPES[".html"], path=report.resolve())
    root = run.path.resolve()
    for name in _clips(run.generations):
        media_type = TYPES.get(Path(name).suffix.lower())
        path = (run.path / name).resolve()
        if media_type is not None and path.is_relative_to(root) and path.is_file():
            found[name] = Resource(media_type, path=path)
    return found


def _clips(table: Path) -> list[str]:
    try:
        names = pq.read_table(table, columns=["audio_path"]).column("audio_path").to_pylist()
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise ValueError(f"{table}: cannot be read ({str(error).splitlines()[0]}); finish the run first") from error
    return [name for name in names if name]
