"""One process per run folder: a lock file that names its owner, so that a killed owner's lock is seen to be stale.

The owner is known by host, boot, process number and the tick at which it started; none of these moves when the clock
of the machine is set, so a jump of the clock neither frees a living owner's lock nor keeps a dead one's.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

__all__ = ["LOCK_NAME", "run_lock"]

LOCK_NAME = ".lock"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
STATE, START_TICK = 0, 19
"""Fields of ``/proc/PID/stat`` behind the process's name (proc(5): numbers 3 and 22)."""
ENDED = ("Z", "X")
START_TIME_TOLERANCE_S = 1.0


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process.

    A lock whose process is gone (or whose number now belongs to a process started later) is taken over.

    Raises:
        ValueError: another living process holds the folder; the message names it.
    """
    path = folder / LOCK_NAME
    own = {"pid": os.getpid(), "started": _started(os.getpid()), "boot": _boot(), "host": socket.gethostname()}
    with _one_at_a_time(folder):
        _take(path, own)
    try:
        yield
    finally:
        if _owner(path) == own:
            path.unlink(missing_ok=True)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Two processes that find the same stale lock must not both take it over: each would remove the other's."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # the kernel lets go when the process ends
        yield
    finally:
        os.close(handle)


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
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _alive(owner: dict[str, object]) -> bool:
    pid, started = owner.get("pid"), owner.get("started")
    if owner.get("host") != socket.gethostname():
        return True
    if not isinstance(pid, int) or not isinstance(started, (int, float)) or owner.get("boot") != _boot():
        return False
    now = _started(pid)
    return now is not None and abs(now - started) <= (0 if _boot() else START_TIME_TOLERANCE_S)


def _boot() -> str:
    """Which start of the machine this is; empty where the system does not say."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started(pid: int) -> float | None:
    """When a process started, in ticks since the machine did (in seconds of the clock where there is no ``/proc``)."""
    if not _boot():
        try:
            return psutil.Process(pid).create_time()
        except psutil.Error:
            return None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[STATE] in ENDED else float(fields[START_TICK])
