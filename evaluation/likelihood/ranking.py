"""Likelihood ranking of given pairs: sWUGGY (word or non-word), sBLIMP (grammatical or not), or any of the kind.

Reads the gold tables of ZeroSpeech (``id, filename, correct``, and where they stand ``voice``, ``frequency`` or
``type``), and plain tables with one pair a row (``id, positive, negative``). Both scorings are given: the sum of
log-probabilities and their mean per token, since papers differ and lengths do too. A pair is averaged over its voices
first; pairs are what is resampled.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audiolm.audio import AudioClip
from evaluation.bootstrap import Interval, Resampler
from evaluation.likelihood.chance import chance_band, prefer
from evaluation.protocols import HasLikelihood

__all__ = ["RankedPair", "RankingRow", "rank_pairs", "rank_scores", "read_pairs"]

SUFFIXES = ("", ".wav", ".flac", ".ogg")
SUBSETS = ("frequency", "type", "subtype", "subset")


@dataclass(frozen=True, slots=True)
class RankedPair:
    """One pair in one voice: files of the right and the wrong one, and the subset it belongs to."""

    pair: str
    voice: str
    subset: str
    positive: Path
    negative: Path


@dataclass(frozen=True, slots=True)
class RankingRow:
    """Share of pairs ranked right, with the interval over pairs and the exact band of a coin."""

    subset: str
    stage: str
    scoring: str
    interval: Interval
    n_pairs: int
    n_files: int
    chance_low: float
    chance_high: float


def read_pairs(table: Path, audio: Path | None = None) -> list[RankedPair]:
    """The pairs of a CSV table; files are looked for in ``audio`` or beside the table.

    Raises:
        ValueError: columns are missing, a pair has not one right and one wrong file, or a file is not there.
    """
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table}: cannot be read ({error}); give a CSV table of pairs") from error
    if not rows:
        raise ValueError(f"{table}: holds no row; give one pair or file per row")
    folder = audio or table.parent
    columns = set(rows[0])
    if {"id", "positive", "negative"} <= columns:
        return [_pair(table, number, row, folder) for number, row in enumerate(rows, 2)]
    if {"id", "filename", "correct"} <= columns:
        return _gold(table, rows, folder)
    raise ValueError(f"{table}: has columns {', '.join(sorted(columns))}; use id, positive, negative or the gold table"
                     " of ZeroSpeech (id, filename, correct)")  # fmt: skip


def rank_scores(files: Sequence[Path], system: HasLikelihood, rate_hz: int) -> dict[Path, dict[str, tuple[float, int]]]:
    """``(nats, tokens)`` of each file by stage; every file is read once."""
    found: dict[Path, dict[str, tuple[float, int]]] = {}
    for path in dict.fromkeys(files):
        nats = system.token_nats(AudioClip.from_file(path).at_rate(rate_hz).samples)
        found[path] = {stage: (float(values.sum()), int(values.size)) for stage, values in nats.items()}
    return found


def rank_pairs(
    pairs: Sequence[RankedPair], scores: Mapping[Path, Mapping[str, tuple[float, int]]], resampler: Resampler
) -> list[RankingRow]:
    """Shares for every stage, both scorings, the whole and every subset."""
    subsets = ["", *sorted({pair.subset for pair in pairs if pair.subset})]
    stages = sorted({stage for found in scores.values() for stage in found})
    scorings: dict[str, Callable[[float, int], float]] = {"sum": lambda n, _: n, "mean": lambda n, count: n / count}
    rows = []
    for subset in subsets:
        inside = [pair for pair in pairs if not subset or pair.subset == subset]
        for stage in stages:
            for scoring, of in scorings.items():
                rows.append(_row(subset, stage, scoring, inside, scores, of, resampler))
    return rows


def _row(
    subset: str, stage: str, scoring: str, pairs: Sequence[RankedPair],
    scores: Mapping[Path, Mapping[str, tuple[float, int]]], of: Callable[[float, int], float], resampler: Resampler,
) -> RankingRow:  # fmt: skip
    by_pair: dict[str, list[float]] = {}
    for pair in pairs:
        value = prefer(of(*scores[pair.positive][stage]), of(*scores[pair.negative][stage]))
        by_pair.setdefault(pair.pair, []).append(value)
    names = sorted(by_pair)
    means = np.array([float(np.mean(by_pair[name])) for name in names])
    interval = resampler.ratio(names, means, np.ones(len(names)), (0.0, 1.0))
    low, high = chance_band(len(names))
    return RankingRow(subset, stage, scoring, interval, len(names), 2 * len(pairs), low, high)


def _pair(table: Path, number: int, row: Mapping[str, str], folder: Path) -> RankedPair:
    files = [_file(table, number, row[name], folder) for name in ("positive", "negative")]
    return RankedPair(row["id"], row.get("voice") or "", _subset(row), *files)


def _gold(table: Path, rows: Sequence[Mapping[str, str]], folder: Path) -> list[RankedPair]:
    sides: dict[tuple[str, str], dict[str, tuple[int, Mapping[str, str]]]] = {}
    for number, row in enumerate(rows, 2):
        correct = str(row["correct"]).strip().lower()
        side = "positive" if correct in ("1", "true") else "negative" if correct in ("0", "false") else ""
        known = sides.setdefault((row["id"], row.get("voice") or ""), {})
        if not side or side in known:
            raise ValueError(f"{table}, row {number}: pair {row['id']!r} needs one row with correct 1 and one with 0"
                             " per voice")  # fmt: skip
        known[side] = (number, row)
    found = []
    for (pair, voice), known in sides.items():
        if len(known) != 2:
            raise ValueError(f"{table}: pair {pair!r} has no {'negative' if 'positive' in known else 'positive'} file;"
                             " give both")  # fmt: skip
        files = [_file(table, known[s][0], known[s][1]["filename"], folder) for s in ("positive", "negative")]
        found.append(RankedPair(pair, voice, _subset(known["positive"][1]), *files))
    return found


def _subset(row: Mapping[str, str]) -> str:
    return next((row[name] for name in SUBSETS if row.get(name)), "")


def _file(table: Path, number: int, name: str, folder: Path) -> Path:
    for suffix in SUFFIXES:
        path = folder / f"{name}{suffix}"
        if name and path.is_file():
            return path
    raise ValueError(f"{table}, row {number}: no file {name!r} in {folder}; name the folder of the audio with --audio")
