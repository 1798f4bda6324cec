"""One process per run folder: a lock file that names its owner, so that a killed owner's lock is seen to be stale."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

__all__ = ["LOCK_NAME", "run_lock"]

LOCK_NAME = ".lock"
START_TIME_TOLERANCE_S = 1.0


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process.

    A lock whose process is gone (or whose number now belongs to a process started later) is taken over.

    Raises:
        ValueError: another living process holds the folder; the message names it.
    """
    path = folder / LOCK_NAME
    own = {"pid": os.getpid(), "started": psutil.Process().create_time(), "host": socket.gethostname()}
    _take(path, own)
    try:
        yield
    finally:
        if _owner(path) == own:
            path.unlink(missing_ok=True)


def _take(path: Path, own: dict[str, object]) -> None:
    ready = path.with_name(f"{LOCK_NAME}.{os.getpid()}")
    ready.write_text(json.dumps(own), encoding="utf-8")
    try:
        for _ in range(3):
            try:
                os.link(ready, path)  # appears with its content or not at all
                return
            except FileExistsError:
                owner = _owner(path)
            if owner is not None and _alive(owner):
                raise ValueError(
                    f"{path.parent}: process {owner.get('pid')} on {owner.get('host')} is working there; wait for it,"
                    f" or delete {path} if that machine no longer runs it"
                )
            path.unlink(missing_ok=True)
    finally:
        ready.unlink(missing_ok=True)
    raise ValueError(f"{path.parent}: another process keeps taking {path}; start one run per folder")


def _owner(path: Path) -> dict[str, object] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _alive(owner: dict[str, object]) -> bool:
    pid, started = owner.get("pid"), owner.get("started")
    if owner.get("host") != socket.gethostname():
        return True
    if not isinstance(pid, int) or not isinstance(started, (int, float)):
        return False
    try:
        return abs(psutil.Process(pid).create_time() - started) <= START_TIME_TOLERANCE_S
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
