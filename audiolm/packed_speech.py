"""Recordings as 16-bit samples in a few safetensors files: for machines without an audio library, and for many hours.

A pack is a folder with ``pack.json`` (rate, and for every recording its id, speaker, split, kind, piece and length)
and ``speech-00000.safetensors`` and so on. Samples are read from disk as they are needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from audiolm.whole_files import write_whole

__all__ = ["INDEX", "PackedSamples", "packs_in", "read_pack", "write_pack"]

INDEX = "pack.json"
PIECE_BYTES = 60 * 2**20
FULL_SCALE = 32768.0


class PackedSamples:
    """One packed recording: ``len`` samples; a slice gives float32 ``[time]`` within +-1."""

    def __init__(self, piece: Any, name: str, length: int) -> None:
        self._piece, self._name, self._length = piece, name, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, wanted: slice) -> np.ndarray:
        start, stop, step = wanted.indices(self._length)
        if step != 1:
            raise ValueError(f"step is {step}; packed samples are read in one stretch")
        if stop <= start:
            return np.zeros(0, dtype=np.float32)
        return self._piece.get_slice(self._name)[start:stop].astype(np.float32) / FULL_SCALE

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or np.float32, copy=False)


def write_pack(
    folder: Path, recordings: Iterable[tuple[dict[str, str], Any]], sample_rate_hz: int, piece_bytes: int = PIECE_BYTES
) -> list[Path]:
    """Pack pairs of a row (``utterance_id``, ``speaker``, ``split``, ``kind``) and its samples ``[time]`` within +-1.

    Gives the files written: each at most ``piece_bytes`` long, or one recording.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    files: list[Path] = []
    piece: dict[str, np.ndarray] = {}

    def finish() -> None:
        files.append(folder / f"speech-{len(files):05d}.safetensors")
        save_file(piece, files[-1])
        piece.clear()

    room = piece_bytes - 2**16
    size = 0
    for row, samples in recordings:
        pcm = np.clip(np.round(np.asarray(samples[:], np.float64) * FULL_SCALE), -32768, 32767).astype(np.int16)
        bytes_needed = pcm.nbytes + 2 * len(row["utterance_id"]) + 120
        if piece and size + bytes_needed > room:
            finish()
            size = 0
        size += bytes_needed
        piece[row["utterance_id"]] = pcm
        rows.append({**row, "piece": f"speech-{len(files):05d}.safetensors", "samples": len(pcm)})
    if piece:
        finish()
    document = {"format": "audiolm-pack", "version": 1, "sample_rate_hz": sample_rate_hz, "recordings": rows}
    write_whole(folder / INDEX, json.dumps(document))
    return [*files, folder / INDEX]


def packs_in(folder: Path) -> list[Path]:
    """The folder itself if it is a pack, or its sub-folders that are (a corpus packed by many jobs), by name."""
    if (folder / INDEX).is_file():
        return [folder]
    return sorted(path.parent for path in folder.glob(f"*/{INDEX}"))


def read_pack(folder: Path, sample_rate_hz: int) -> list[tuple[dict[str, str], PackedSamples]]:
    """Rows and samples of a pack, in the order they were packed.

    Raises:
        ValueError: not a pack, of another rate, or a piece is missing or damaged.
    """
    try:
        document = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{folder / INDEX}: cannot be read ({error}); pack the speech again") from error
    if not isinstance(document, dict) or document.get("format") != "audiolm-pack":
        raise ValueError(f"{folder / INDEX}: is not the index of a pack; pack the speech again")
    if document["sample_rate_hz"] != sample_rate_hz:
        raise ValueError(
            f"{folder}: packed at {document['sample_rate_hz']} Hz, {sample_rate_hz} Hz are needed; pack it at that rate"
        )
    pieces: dict[str, Any] = {}
    found = []
    for row in document["recordings"]:
        name = row["piece"]
        if name not in pieces:
            try:
                pieces[name] = safe_open(folder / name, framework="np")
            except (OSError, SafetensorError) as error:
                raise ValueError(f"{folder / name}: cannot be read ({error}); copy the pack again") from error
        found.append((row, PackedSamples(pieces[name], row["utterance_id"], int(row["samples"]))))
    return found
