"""Which ids occur twice among any number of rows, in little memory: digests in files, sorted one file at a time."""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from pathlib import Path

import numpy as np

__all__ = ["IdIndex", "Renamer"]

BUCKETS = 256
HELD = 4096
"""Digests of a bucket in memory before they are written."""
MOST_REPEATED = 1_000_000


class IdIndex:
    """Digests of all ids: add every one, then :meth:`close`, then ask."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._paths = [folder / f"ids-{number:03d}.bin" for number in range(BUCKETS)]
        for path in self._paths:
            path.unlink(missing_ok=True)
        self._held: list[list[int]] = [[] for _ in range(BUCKETS)]
        self.repeated: frozenset[int] = frozenset()

    def add(self, name: str) -> None:
        digest = _digest(name)
        bucket = self._held[digest % BUCKETS]
        bucket.append(digest)
        if len(bucket) >= HELD:
            self._write(digest % BUCKETS)

    def close(self) -> None:
        """Sort every bucket on disk and keep the digests that occur more than once.

        Raises:
            ValueError: a million or more ids occur more than once.
        """
        repeated: set[int] = set()
        for number, path in enumerate(self._paths):
            self._write(number)
            if path.exists():
                values, counts = np.unique(np.fromfile(path, dtype=np.uint64), return_counts=True)
                values.tofile(path)
                repeated.update(int(value) for value in values[counts > 1])
            if len(repeated) >= MOST_REPEATED:
                raise ValueError(f"{len(repeated)} or more ids stand in several rows; give every row an id of its own")
        self.repeated = frozenset(repeated)

    def __contains__(self, name: str) -> bool:
        digest = _digest(name)
        path = self._paths[digest % BUCKETS]
        if not path.exists():
            return False
        values = np.memmap(path, dtype=np.uint64, mode="r")
        place = int(np.searchsorted(values, np.uint64(digest)))
        return place < len(values) and int(values[place]) == digest

    def _write(self, number: int) -> None:
        if self._held[number]:
            with self._paths[number].open("ab") as stream:
                np.array(self._held[number], dtype=np.uint64).tofile(stream)
            self._held[number] = []


class Renamer:
    """New names for second and later rows of one id, as ``read_utterances`` gives them; call it for every row."""

    def __init__(self, index: IdIndex) -> None:
        self._index = index
        self._seen: Counter[str] = Counter()
        self._given: set[str] = set()

    def __call__(self, name: str, row: int | None) -> str:
        """The row's new name, or empty where it keeps its own."""
        if _digest(name) not in self._index.repeated:
            return ""
        self._seen[name] += 1
        if self._seen[name] == 1:
            return ""
        new_name = f"{name}#{row or self._seen[name]}"
        while new_name in self._given or new_name in self._index:
            new_name += "+"
        self._given.add(new_name)
        return new_name


def _digest(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
