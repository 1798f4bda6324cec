"""Protocols and score files of detection experiments, as they come: ASVspoof 2019, 2021 and 5, Codecfake, ours.

Nothing is read by a fixed width: columns are found by their header, or by where the key (``bonafide``, ``spoof``)
stands. Trials that are missing, doubled or without a usable score are listed, never guessed.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from evaluation.frames import read_generations

__all__ = ["Pairing", "Trial", "pair", "read_protocol", "read_scores"]

KEYS: Mapping[str, bool] = {
    **dict.fromkeys(("bonafide", "bona-fide", "bona_fide", "bona fide", "genuine", "human", "real"), True),
    **dict.fromkeys(("spoof", "fake", "synthetic", "generated"), False),
}
HEADERS: Mapping[str, tuple[str, ...]] = {
    "file": ("filename", "file", "file_name", "flac_file_name", "trial", "utterance_id", "item_id", "path", "name"),
    "key": ("key", "cm-label", "cm_label", "label", "target"),
    "speaker": ("speaker", "speaker_id", "spk", "speaker id"),
    "attack": ("attack_label", "attack", "generator", "system", "attack_tag", "role"),
    "codec": ("codec", "condition", "compression"),
    "kind": ("kind",),
    "path": ("path", "audio_path", "source_path"),
    "score": ("cm-score", "cm_score", "score", "llr", "cmscore"),
}
KNOWN_WIDTHS: Mapping[tuple[int, int], Mapping[str, int]] = {
    (5, 4): {"speaker": 0, "file": 1, "attack": 3},
    (6, 5): {"speaker": 0, "file": 1, "attack": 4},
    (8, 5): {"speaker": 0, "file": 1, "codec": 2, "attack": 4},
    (13, 5): {"speaker": 0, "file": 1, "codec": 2, "attack": 4},
    (10, 8): {"speaker": 0, "file": 1, "codec": 3, "attack": 7},
    (9, 8): {"speaker": 0, "file": 1, "codec": 3, "attack": 7},
    (2, 1): {"file": 0},
}
"""Columns by ``(width, place of the key)``: 2019 LA, ASVspoof 5 phase 1, 2021 LA, 2021 DF, ASVspoof 5, plain list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One file of a protocol; ``attack``, ``codec``, ``path`` (where a manifest says it lies) are "" where not said."""

    name: str
    is_bona_fide: bool
    speaker_id: str = ""
    attack: str = ""
    codec: str = ""
    path: str = ""


@dataclass(slots=True)
class Pairing:
    """Trials with a usable score, and the names of those without; ``extra``: scored but not in the protocol."""

    trials: list[Trial] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    not_a_number: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    conflicting: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error}); name a protocol or score file") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not text ({error}); name a protocol or score file") from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{path}: is empty; name a protocol or score file")
    if path.suffix.lower() == ".csv":
        return list(csv.reader(lines))
    return [line.split("\t") if "\t" in line else line.split() for line in lines]


def _header(row: Sequence[str]) -> dict[str, int]:
    """Column of each known field, or {} where the row is no header."""
    names = [cell.strip().lower() for cell in row]
    found = {}
    for kind, choices in HEADERS.items():
        place = next((names.index(choice) for choice in choices if choice in names), None)
        if place is not None:
            found[kind] = place
    return found if "file" in found and len(found) >= 2 else {}


def _key_column(rows: Sequence[Sequence[str]], width: int) -> int | None:
    for column in range(width - 1, -1, -1):
        if all(row[column].strip().lower() in KEYS for row in rows):
            return column
    return None


def _columns(path: Path, rows: list[list[str]]) -> tuple[dict[str, int], list[list[str]]]:
    header = _header(rows[0])
    body = rows[1:] if header else rows
    if not body:
        raise ValueError(f"{path}: holds a header and nothing below it")
    width = len(rows[0])
    odd = next((index for index, row in enumerate(rows, 1) if len(row) != width), None)
    if odd is not None:
        raise ValueError(f"{path}: line {odd} has {len(rows[odd - 1])} columns, the first has {width}; give one table")
    if header:
        return header, body
    key = _key_column(body, width)
    if key is None and len(rows) > 1:  # a header line whose names are none that we know
        key, body = _key_column(rows[1:], width), rows[1:]
    if key is None:
        return {}, rows
    known = KNOWN_WIDTHS.get((width, key))
    if known is not None:
        return {**known, "key": key}, body
    unique = [place for place in range(width) if place != key and len({row[place] for row in body}) == len(body)]
    named = [place for place in unique if not all(_is_number(row[place]) for row in body)]
    if not named:
        raise ValueError(f"{path}: no column names the files (none is without repeats); give a header line")
    columns = {"file": named[0], "key": key}
    return ({**columns, "attack": key - 1} if key - 1 not in (named[0], -1) else columns), body


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_protocol(path: Path) -> list[Trial]:
    """The trials of a protocol, of our ``generations.parquet``, or of a manifest with a ``key`` or ``generator``.

    A manifest of recordings without either is taken as bona fide throughout. A trial given twice is kept twice here.

    Raises:
        ValueError: unreadable, no column with keys, an unknown key, or no column that names files.
    """
    if path.suffix.lower() == ".parquet":
        return [
            Trial(
                name=record.item_id,
                is_bona_fide=record.origin == "human",
                speaker_id=record.speaker_id,
                attack="" if record.origin == "human" else record.role,
            )
            for record in read_generations(path)
        ]
    columns, rows = _columns(path, _rows(path))
    if "file" not in columns or not {"key", "attack"} & set(columns) and "speaker" not in columns:
        raise ValueError(
            f"{path}: no column holds bonafide and spoof only, and no header names the columns;"
            " give a protocol with keys"
        )
    kind = columns.get("kind")  # our manifests also list music and noise
    return [
        _trial(path, number, row, columns)
        for number, row in enumerate(rows, 1)
        if kind is None or row[kind].strip().lower() in ("", "speech")
    ]


def _trial(path: Path, number: int, row: Sequence[str], columns: Mapping[str, int]) -> Trial:
    def cell(kind: str) -> str:
        text = row[columns[kind]].strip() if kind in columns else ""
        return "" if text == "-" else text

    if "key" in columns:
        word = cell("key").lower()
        if word not in KEYS:
            raise ValueError(f"{path}: row {number} has the key {word!r}; use bonafide or spoof")
        is_bona_fide = KEYS[word]
    else:
        is_bona_fide = cell("attack").lower() in KEYS and KEYS[cell("attack").lower()] or not cell("attack")
    return Trial(
        name=cell("file"),
        is_bona_fide=is_bona_fide,
        speaker_id=cell("speaker"),
        attack="" if is_bona_fide else cell("attack") or "synthetic",
        codec=cell("codec"),
        path=cell("path"),
    )


def read_scores(path: Path) -> list[tuple[str, float]]:
    """``(name, score)`` as written, NaN where there is none; ``cm-score`` table, ``FILE SCORE``, ``detect --json``.

    Raises:
        ValueError: unreadable, or no column of numbers.
    """
    if path.suffix.lower() in (".json", ".jsonl"):
        return _json_scores(path)
    rows = _rows(path)
    header = _header(rows[0])
    body = rows[1:] if "score" in header else rows
    width = max(len(row) for row in body) if body else 0
    place = header.get("score")
    if place is None:
        shares = [sum(_is_number(row[k]) for row in body if k < len(row)) / len(body) for k in range(1, width)]
        place = next((k for k, share in enumerate(shares, 1) if share > 0.5), None)
    if place is None or not body:
        raise ValueError(f"{path}: no column holds numbers; give lines of FILE SCORE or a header with cm-score")
    name = header.get("file", 0)
    return [(row[name].strip(), _score(row[place] if place < len(row) else "")) for row in body if len(row) > name]


def _score(text: str) -> float:
    return float(text) if _is_number(text) else math.nan


def _json_scores(path: Path) -> list[tuple[str, float]]:
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            found.append((str(row["path"]), math.nan if row["llr"] is None else float(row["llr"])))
        except (ValueError, LookupError, TypeError, ArithmeticError, RecursionError) as error:
            raise ValueError(f"{path}: line {number} is not a line of detect --json ({error!r})") from error
    return found


def _endings(name: str) -> list[str]:
    """A file's name without suffix, with ever fewer of its folders: ``a/b/1.wav`` gives ``a/b/1``, ``b/1``, ``1``."""
    path = PurePosixPath(name)
    known = (".flac", ".wav", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aiff", ".aif")
    parts = [part for part in path.parts if part not in ("/", ".", "..")]
    if parts and path.suffix.lower() in known:
        parts[-1] = path.stem
    return ["/".join(parts[place:]) for place in range(len(parts))]


def _index(trials: Sequence[Trial]) -> dict[str, str | None]:
    """Trial by each ending of its name and of its path; None where two trials share one."""
    found: dict[str, str | None] = {}
    for trial in trials:
        for ending in {*_endings(trial.name), *_endings(trial.path)}:
            found[ending] = trial.name if found.get(ending, trial.name) == trial.name else None
    return found


def pair(trials: Sequence[Trial], scores: Sequence[tuple[str, float]]) -> Pairing:
    """Trials and scores by exact name, else by the longest ending of the path that only one trial has.

    Order is the protocol's. A name scored twice alike counts once and is listed; scored twice differently, or with
    two keys in the protocol, it is left out and listed.
    """
    found = Pairing()
    by_name: dict[str, list[float]] = {}
    exact, endings = {trial.name for trial in trials}, _index(trials)
    for name, score in scores:
        shared = name if name in exact else next((endings[end] for end in _endings(name) if end in endings), None)
        if shared is None:
            found.extra.append(name)
        else:
            by_name.setdefault(shared, []).append(score)
    keys: dict[str, set[bool]] = {}
    for trial in trials:
        keys.setdefault(trial.name, set()).add(trial.is_bona_fide)
    seen: set[str] = set()
    for trial in trials:
        values = by_name.get(trial.name, [])
        if trial.name in seen:
            found.doubled.append(trial.name)
            continue
        seen.add(trial.name)
        if not values:
            found.missing.append(trial.name)
        elif any(math.isnan(value) for value in values):
            found.not_a_number.append(trial.name)
        elif len(set(values)) > 1 or len(keys[trial.name]) > 1:
            found.conflicting.append(trial.name)
        else:
            if len(values) > 1:
                found.doubled.append(trial.name)
            found.trials.append(trial)
            found.scores.append(values[0])
    return found
